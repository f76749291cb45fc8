//! Every row of the table that one machine can make, made by a registry that has just this one fault: the doctor must
//! name the row, the hop, the cause and the fix; and of a registry without faults it must find nothing.

#![expect(clippy::disallowed_methods, reason = "the tests play whoever writes a certificate's file")]

#[cfg(test)]
mod support;

#[cfg(test)]
mod base;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod healthy;
#[cfg(test)]
mod login;
#[cfg(test)]
mod network;
#[cfg(test)]
mod pull;
#[cfg(test)]
mod push;
#[cfg(test)]
mod slow;
