//! Receivers of notifications: whether their names lead somewhere. Nothing is sent to them.

use futures::FutureExt;

use super::{Check, Finding, Patient, list};

pub(super) fn checks(patient: &Patient) -> impl Iterator<Item = Check<'_>> {
    patient.config.receivers.iter().map(|receiver| {
        let subject = format!("notifications.{}", receiver.name);
        let told = subject.clone();
        let look = async move {
            let found = receiver.look_up().await;
            vec![match found {
                Ok(addresses) => Finding::ok("name", told, list(&addresses)),
                Err(error) => {
                    Finding::away("name", told, error, "mend its `url`, or the name service")
                }
            }]
        };
        Check { name: "name", subject, look: look.boxed_local() }
    })
}
