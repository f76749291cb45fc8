//! The pull-through cache against an upstream that fails in every way.

#![expect(
    clippy::disallowed_methods,
    reason = "tests stand in for the policy and disturb the directory from outside"
)]

#[cfg(test)]
mod adopt;
#[cfg(test)]
mod counted;
#[cfg(test)]
mod evict;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fills;
#[cfg(test)]
mod forgotten;
#[cfg(test)]
mod freshness;
#[cfg(test)]
mod heal;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod origin;
#[cfg(test)]
mod passing;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod retaining;
#[cfg(test)]
mod unkept;
#[cfg(test)]
mod warm;
#[cfg(test)]
mod world;
