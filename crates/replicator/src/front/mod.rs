//! The front: answers triggers. It speaks as much of the distribution API as a Kubewarden
//! host's client uses, answers from memory and ledger, and never waits for a registry.
//!
//! - [`listener`]: TCP and TLS, connection limits;
//! - [`api`]: HTTP requests to triggers, answers to HTTP replies;
//! - [`tls`]: our certificate, and whose we take;
//! - [`callers`], [`htpasswd`], [`failures`]: who asks; [`rights`]: what they may;
//! - [`shed`]: what is said where a question is not looked at;
//! - [`answer`]: what is known of a source to a receipt or a refusal; pure.

pub(crate) mod answer;
pub(crate) mod api;
pub(crate) mod callers;
pub(crate) mod failures;
pub(crate) mod htpasswd;
pub(crate) mod listener;
pub(crate) mod rights;
mod shed;
pub(crate) mod tls;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
