//! What tests of the front share: a front on the wire.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use protocol::{Receipt, Refusal};
use testkit::{Certificates, Host};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::callers::Callers;
use super::htpasswd::Htpasswd;
use super::listener::Listener;
use super::tls::{Certificate, Tls};
use crate::audit::testing::Recorded;
use crate::board::Board;
use crate::ending::Observers;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::rights::Rights;
use crate::rules::Rules;
use crate::watch::Held;

/// An API for the caller `policy` with the password `secret`.
pub(crate) fn api(ledger: &Ledger, target: &str, rules: Rules) -> Api {
    Api {
        ledger: ledger.clone(),
        board: Board::default(),
        target: Arc::new(target.parse().unwrap()),
        callers: callers(Some("secret")),
        caller_rights: Arc::default(),
        rules,
        rights: Rights::new(ledger.clone()).0,
        metrics: Metrics::default(),
        audit: Recorded::new().audit,
    }
}

/// Who is told of copies by workers beside such an API.
pub(crate) fn observers(api: &Api) -> Observers {
    let (metrics, audit) = (api.metrics.clone(), api.audit.clone());
    Observers { metrics, audit, notifier: Notifier::default() }
}

/// The caller `policy` with this password, or no password at all.
pub(crate) fn callers(password: Option<&str>) -> Callers {
    let line = |password| format!("policy:{}", bcrypt::hash(password, 4).unwrap());
    let htpasswd = password.map(|password| Htpasswd::parse(&line(password)).unwrap());
    Callers::new(htpasswd.map(|htpasswd| Held::channel(htpasswd).1)).unwrap()
}

/// What handshakes are made with by who has these.
pub(crate) fn tls(certificates: &Certificates) -> Tls {
    let (chain, key) = (certificates.cert_pem.as_bytes(), certificates.key_pem.as_bytes());
    let certificate = Certificate::parse(chain, key).unwrap();
    Tls { certificate: Held::channel(certificate).1, client_ca: None }
}

/// A front that answers, and who asks it. It ends with the runtime, or when told to.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) host: Host,
    pub(crate) ca_pem: String,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
}

impl Front {
    pub(crate) async fn start(api: Api) -> Self {
        Self::start_with(api, |_| {}).await
    }

    /// One whose listener is not the usual one.
    pub(crate) async fn start_with(api: Api, change: impl FnOnce(&mut Listener)) -> Self {
        let certificates = Certificates::new();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listener = Listener::bind(any_port, tls(&certificates)).await.unwrap();
        change(&mut listener);
        let address = listener.address().unwrap();
        let host = Host::new(address.port(), &certificates.ca_pem);
        let stop = CancellationToken::new();
        let serving = tokio::spawn(listener.serve(api, stop.clone()));
        Self { address, host, ca_pem: certificates.ca_pem, stop, serving }
    }

    pub(crate) async fn trigger(&self, verb: &str, source: &str) -> Result<Receipt, Refusal> {
        self.host.trigger(verb, "shop", source).await
    }
}
