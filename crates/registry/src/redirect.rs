//! Where else to look. A registry may send a reader to another host; our secrets stay at home
//! (distribution-spec, "Pulling blobs": clients must not forward them).

use http::{Method, StatusCode, header};
use url::Url;

use crate::answer::Answer;
use crate::config::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::limits::MAX_REDIRECTS;
use crate::request::{Payload, Request};
use crate::transport::Transport;

/// Sends a request and follows redirects. The secret in it goes along to `home` alone.
pub(crate) async fn follow(
    transport: &Transport,
    home: &Endpoint,
    mut request: Request,
) -> Result<Answer, Error> {
    for _ in 0..=MAX_REDIRECTS {
        if !home.is_home_of(&request.url) {
            request = request.authorized(None);
        }
        let reach = home.reach(&request.url, request.named_by_neighbour);
        let Some(mut next) = request.again() else { return transport.send(request, reach).await };
        let answer = transport.send(request, reach).await?;
        if next.method == Method::HEAD
            && answer.status == StatusCode::FORBIDDEN
            && !home.is_home_of(&next.url)
        {
            // A URL that is signed for a GET answers nothing else.
            next.method = Method::GET;
            request = next;
            continue;
        }
        if !is_followed(&next.method, answer.status) {
            return Ok(answer);
        }
        next.url = target_of(&answer)?;
        next.named_by_neighbour = answer.from_neighbour;
        if !matches!(next.payload, Payload::Empty) && !home.is_home_of(&next.url) {
            return Err(
                answer.error(ErrorKind::Denied, "it redirects what we send to another host")
            );
        }
        request = next;
    }
    Err(request.error(ErrorKind::Malformed, format!("more than {MAX_REDIRECTS} redirects")))
}

/// A read goes wherever it is sent; a write only where its method is to stay the same.
fn is_followed(method: &Method, status: StatusCode) -> bool {
    match status.as_u16() {
        307 | 308 => true,
        301..=303 => matches!(*method, Method::GET | Method::HEAD),
        _ => false,
    }
}

fn target_of(answer: &Answer) -> Result<Url, Error> {
    let target = answer
        .header(header::LOCATION.as_str())
        .and_then(|location| answer.url.join(location).ok())
        .ok_or_else(|| answer.error(ErrorKind::Malformed, "a redirect without a legal Location"))?;
    match (answer.url.scheme(), target.scheme()) {
        (_, "https") | ("http", "http") => Ok(target),
        ("https", "http") => Err(answer.error(
            ErrorKind::Denied,
            format!(
                "it redirects from https to http, at {}",
                target.host_str().unwrap_or_default()
            ),
        )),
        _ => {
            Err(answer
                .error(ErrorKind::Malformed, "it redirects to what is neither https nor http"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_keeps_its_method_or_stays() {
        let see_other = StatusCode::SEE_OTHER;
        assert!(is_followed(&Method::GET, see_other));
        assert!(!is_followed(&Method::POST, see_other));
        assert!(is_followed(&Method::POST, StatusCode::TEMPORARY_REDIRECT));
        assert!(!is_followed(&Method::GET, StatusCode::NOT_MODIFIED));
    }
}
