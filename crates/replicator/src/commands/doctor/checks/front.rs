//! What the front shows and whom it believes: our certificate, authorities of others, callers.

use std::time::Duration;

use super::{Finding, Patient};
use crate::clock::Timestamp;
use crate::front::tls;

/// A certificate that ends sooner should have been renewed: authorities renew at a third of its
/// life, and the usual shortest life is 90 days.
const RENEWED_BEFORE: Duration = Duration::from_secs(21 * DAY_S);

const DAY_S: u64 = 24 * 60 * 60;

pub(super) fn look(patient: &Patient) -> Vec<Finding> {
    let now = patient.clock.now();
    let front = &patient.config.front;
    let certificate = front.tls.certificate.current();
    let mut findings = vec![ends("front.certificate", certificate.ends, now)];
    findings.push(match certificate.names() {
        names if names.is_empty() => Finding::fail(
            "certificate",
            "front.certificate",
            "it has no alternative name, so no policy server can believe it",
            "have one made for the host in the policy's setting `replicator`",
        ),
        names => {
            let found = format!("it is for {}", names.join(", "));
            Finding::ok("certificate", "front.certificate", found)
        }
    });
    let authorities = patient.config.registries.named.iter();
    let authorities =
        authorities.filter_map(|(registry, config)| Some((registry, config.ca_pem.as_ref()?)));
    let mut authorities: Vec<_> = authorities.collect();
    authorities.sort_unstable();
    for (registry, pem) in authorities {
        let subject = format!("registries.\"{registry}\".ca");
        // It was parsed before; a bundle is worth something until its last certificate ends.
        if let Some(last) = tls::ends_of(pem).ok().and_then(|ends| ends.into_iter().max()) {
            findings.push(ends(&subject, last, now));
        }
    }
    if let Some(htpasswd) = &front.htpasswd {
        let found = format!("callers that are known by a password: {}", htpasswd.current().len());
        findings.push(Finding::ok("callers", "front.callers", found));
    }
    if front.tls.client_ca.is_some() {
        let found = "callers may come with a certificate";
        findings.push(Finding::ok("callers", "front.client_ca", found));
    }
    findings
}

/// Until when a certificate is good.
fn ends(subject: &str, at: Timestamp, now: Timestamp) -> Finding {
    let days = now.apart(at).as_secs() / DAY_S;
    let next = "renew it; the new one is used without a restart";
    match at - now {
        Duration::ZERO => Finding::fail("certificate", subject, format!("it ended at {at}"), next),
        left if left < RENEWED_BEFORE => {
            let when = if days == 1 { "a day".to_owned() } else { format!("{days} days") };
            Finding::warn("certificate", subject, format!("it ends in {when}, at {at}"), next)
        }
        _ => Finding::ok("certificate", subject, format!("it is good for {days} days")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_certificate_that_ends_soon_is_to_be_renewed() {
        let now = Timestamp::from_ms(1_795_608_000_000);
        let day = Duration::from_secs(DAY_S);
        let verdict = |days: u32| ends("front.certificate", now + day * days, now).verdict;
        assert_eq!(
            [verdict(22), verdict(20), verdict(0)],
            [Verdict::Ok, Verdict::Warn, Verdict::Fail]
        );
        let soon = ends("front.certificate", now + day * 5, now);
        assert_eq!(soon.found, "it ends in 5 days, at 2026-11-30T12:00:00Z");
    }
}
