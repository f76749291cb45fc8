//! The client against servers that answer as registries do, and as they should not.

#[cfg(test)]
mod support;
#[cfg(test)]
mod pulls;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod mirrors;
#[cfg(test)]
mod redirects;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod authorities;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod known;
