//! Who may ask what, on the wire: by certificates, by passwords, and for whom.

use std::net::Ipv4Addr;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use testkit::{Certificates, ClientIdentity, SanType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch::Sender;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::front::tls::ClientCa;
use crate::watch::Held;

const TRIGGER: &str = "v1/replica/shop/tag/docker.io/library/nginx:1";

/// A connection of a client that trusts the front's CA, and shows `identity`.
struct Connection(TlsStream<tokio::net::TcpStream>);

impl Connection {
    async fn open(front: &Front, identity: Option<ClientIdentity>) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(front.ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let tcp = tokio::net::TcpStream::connect(front.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        Ok(Self(connector.connect(name, tcp).await?))
    }

    /// The head and body of the answer.
    async fn ask(&mut self, path: &str, credentials: Option<&str>) -> std::io::Result<String> {
        use base64::Engine as _;
        let (repository, tag) = path.rsplit_once(':').unwrap();
        let authorization = credentials.map_or(String::new(), |credentials| {
            let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
            format!("authorization: Basic {encoded}\r\n")
        });
        let request = format!(
            "GET /v2/{repository}/manifests/{tag} HTTP/1.1\r\nhost: localhost\r\n{authorization}\r\n"
        );
        self.0.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            let read = self.0.read_buf(&mut answer).await?;
            let text = String::from_utf8_lossy(&answer).to_lowercase();
            let is_whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                body.len() >= length
            });
            if is_whole {
                return Ok(String::from_utf8(answer).unwrap());
            }
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// One question by a new connection.
async fn ask(
    front: &Front,
    identity: Option<ClientIdentity>,
    credentials: Option<&str>,
) -> std::io::Result<String> {
    Connection::open(front, identity).await?.ask(TRIGGER, credentials).await
}

fn dns(name: &str) -> Vec<SanType> {
    vec![SanType::DnsName(name.try_into().unwrap())]
}

fn client_ca(certificates: &Certificates) -> ClientCa {
    ClientCa::parse(certificates.ca_pem.as_bytes()).unwrap()
}

/// A front that takes certificates of `clients`, by choice passwords as well.
async fn front_for(
    clients: &Certificates,
    passwords: Option<&str>,
    rights: &str,
) -> (Front, Sender<Arc<ClientCa>>) {
    let (sender, ca) = Held::channel(client_ca(clients));
    let adjust = |api: &mut Api| {
        api.callers = testing::callers(passwords);
        api.caller_rights = Arc::new(serde_yaml::from_str(rights).unwrap());
    };
    let front = Front::open(1_000, adjust, |listener| listener.tls.client_ca = Some(ca)).await;
    (front, sender)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_or_a_password_suffices() {
    let clients = Certificates::new();
    let (front, _ca) = front_for(&clients, Some("secret"), "[]").await;
    let identity = || Some(clients.client(dns("ci.corp"), "CI"));
    for (identity, credentials, status) in [
        (identity(), None, "409"),
        (identity(), Some("policy:wrong"), "409"),
        (None, Some("policy:secret"), "409"),
        (None, Some("policy:wrong"), "401"),
        (None, None, "401"),
    ] {
        let answer = ask(&front, identity, credentials).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{credentials:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_somebody_else_ends_the_handshake() {
    let (clients, others) = (Certificates::new(), Certificates::new());
    let (front, _ca) = front_for(&clients, Some("secret"), "[]").await;
    let stranger = Some(others.client(dns("ci.corp"), "CI"));
    // No answer at all, though the password is right.
    assert!(ask(&front, stranger, Some("policy:secret")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_passwords_a_certificate_is_needed() {
    let clients = Certificates::new();
    let (front, _ca) = front_for(&clients, None, "[]").await;
    let answer = ask(&front, None, Some("policy:secret")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let answer = ask(&front, Some(clients.client(dns("ci.corp"), "CI")), None).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_in_a_certificate_has_the_rights_of_that_caller() {
    let clients = Certificates::new();
    let rights = "[{caller: 'spiffe://corp/ci', namespaces: [shop], verbs: [replica]}, \
                   {caller: robot, namespaces: [shop], verbs: [replica]}, \
                   {caller: ci.corp, namespaces: [shop], verbs: [replica]}]";
    let (front, _ca) = front_for(&clients, None, rights).await;
    let spiffe = || SanType::URI("spiffe://corp/ci".try_into().unwrap());
    let address = || SanType::IpAddress(Ipv4Addr::LOCALHOST.into());
    let named = |name: &str| dns(name).remove(0);
    for (names, common_name, status) in [
        (vec![spiffe()], "other", "409"),
        (vec![address(), named("ci.corp"), spiffe()], "other", "409"),
        (vec![address()], "robot", "409"),
        (vec![], "robot", "409"),
        // An alternative name goes before the common one.
        (vec![named("other.corp")], "robot", "403"),
        (vec![named("other.corp"), spiffe()], "robot", "403"),
        // No name that a list would hold: nobody.
        (vec![], "ro bot", "401"),
    ] {
        let identity = clients.client(names.clone(), common_name);
        let answer = ask(&front, Some(identity), None).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{names:?}: {answer}");
    }
}

/// Certificates of an authority that is no longer trusted name nobody: not on new connections,
/// and not on those that are open.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_client_ca_ends_the_connections_that_were_made_under_the_old_one() {
    let (old, new) = (Certificates::new(), Certificates::new());
    let (front, ca) = front_for(&old, None, "[]").await;
    let mut open = Connection::open(&front, Some(old.client(dns("old.corp"), ""))).await.unwrap();
    assert!(open.ask(TRIGGER, None).await.unwrap().starts_with("HTTP/1.1 409"));
    assert!(open.ask(TRIGGER, None).await.unwrap().starts_with("HTTP/1.1 409"));
    ca.send_replace(Arc::new(client_ca(&new)));
    assert!(ask(&front, Some(old.client(dns("old.corp"), "")), None).await.is_err());
    // It is closed without a request: reading ends.
    let closed = tokio::time::timeout(Duration::from_secs(5), open.0.read_u8()).await;
    assert!(closed.expect("the connection is closed").is_err());
    let answer = ask(&front, Some(new.client(dns("new.corp"), "")), None).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_the_right_is_told_so() {
    let clients = Certificates::new();
    let rights = "[{caller: policy, namespaces: ['team-*'], verbs: [replica]}, \
                   {caller: policy, namespaces: [shop], verbs: [plan]}]";
    let (front, _ca) = front_for(&clients, Some("secret"), rights).await;
    assert_eq!(front.trigger("plan", "nginx:1").await.unwrap().state, ReplicaState::Planned);
    for verb in ["start", "replica"] {
        let refusal = front.trigger(verb, "nginx:1").await.unwrap_err();
        assert_eq!((refusal.code, refusal.side), (RefusalCode::Denied, Some(Side::Replicator)));
        let expected = format!(
            "the caller 'policy' has no right to '{verb}' in the namespace 'shop': the \
             replicator's `front.rights` would have to give it"
        );
        assert_eq!(refusal.message, expected);
    }
    // Nor about what is in the target already.
    let direct = "registry.corp/mirror/docker.io/library/nginx:1";
    let refusal = front.trigger("replica", direct).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Denied);
    assert_eq!(front.ledger.find(&"nginx:1".parse().unwrap()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_answered_with_a_wait_and_does_not_lock_the_policy_out() {
    let front = Front::start().await;
    front.trigger("start", "nginx:1").await.unwrap();
    let mut client = Connection::open(&front, None).await.unwrap();
    let mut wrong = 0;
    let refused = loop {
        let guess = format!("policy:guess-{wrong}");
        let answer = client.ask(TRIGGER, Some(&guess)).await.unwrap();
        if !answer.starts_with("HTTP/1.1 401") {
            break answer;
        }
        wrong += 1;
        assert!(wrong <= 20, "nothing ends the guessing");
    };
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: "), "{refused}");
    let refusal = Refusal::find(&refused).unwrap();
    assert_eq!(refusal.code, RefusalCode::TooMany);
    assert!(wrong >= 10, "{wrong}");
    // The policy's own client comes from the same address, first without credentials.
    assert_eq!(front.trigger("start", "nginx:1").await.unwrap().state, ReplicaState::Copying);
    let nobody = ask(&front, None, None).await.unwrap();
    assert!(nobody.starts_with("HTTP/1.1 401"), "{nobody}");
}
