//! The page: one document, rendered here, with a style sheet and a script that come along. It shows
//! all that it has to show without the script, which only keeps it up to date.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Status;
use super::answer::{Problem, Query};
use super::api::ImagesQuery;
use super::documents::{Image, Images, Overview};
use super::live::{self, image, list, moment, names};
use super::words::{self, NOTHING, size};
use crate::ledger::record;

/// Images on a page of the inventory.
const ROWS: u32 = 25;

/// What a browser may do with the page: fetch from here, and nothing else from anywhere.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// What goes with each answer of the listener, so that a browser takes none for what it is not.
pub(super) const SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// `GET /page.css`
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("assets/page.css"))
}

/// `GET /page.js`
pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/page.js"))
}

/// `GET /icon.svg`
pub(super) async fn icon() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("assets/icon.svg"))
}

/// `GET /`
pub(super) async fn page(
    State(status): State<Status>,
    Query(query): Query<ImagesQuery>,
) -> Result<Html<String>, Problem> {
    let query = ImagesQuery { limit: Some(ROWS), ..query };
    let (overview, images) = (status.overview().await?, status.images(&query).await);
    Ok(Html(document(&overview, &query, images.as_ref(), status.keeper.has_token()).into_string()))
}

fn document(
    overview: &Overview,
    query: &ImagesQuery,
    images: Result<&Images, &Problem>,
    has_token: bool,
) -> Markup {
    let sections = live::sections(overview, has_token);
    let section = |id: &str| {
        let found = sections.iter().find(|(name, _)| *name == id);
        let inner = found.map(|(_, inner)| inner.clone()).unwrap_or(PreEscaped(String::new()));
        html! { div data-live=(id) { (inner) } }
    };
    let titles = [
        ("copying", "Copying"),
        ("failed", "Failed"),
        ("waiting", "Waiting"),
        ("stale", "Stale"),
        ("registries", "Registries"),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Image Replicator" }
                link rel="icon" href="icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="page.css";
                script src="page.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to what is copied" }
                header {
                    h1 { "Image Replicator" }
                    p.about { "version " (overview.version) ", replicator " code { (overview.replicator) } }
                    p #connection role="status" { noscript { "This page is as of when it was loaded." } }
                    nav aria-label="On this page" {
                        ul {
                            @for (id, title) in titles { li { a href={ "#" (id) } { (title) } } }
                            li { a href="#inventory" { "Inventory" } }
                        }
                    }
                }
                main #main tabindex="-1" {
                    (section("troubles"))
                    (section("summary"))
                    // Spoken now and then by the script; the figures themselves change too often.
                    p #spoken .spoken role="status" aria-live="polite" {}
                    @for (id, title) in titles {
                        section id=(id) aria-labelledby={ "title-" (id) } {
                            h2 id={ "title-" (id) } { (title) }
                            (section(id))
                        }
                    }
                    section #inventory aria-labelledby="title-inventory" {
                        h2 #title-inventory { "Inventory" }
                        (search(query))
                        @match images {
                            Ok(images) => (inventory(images, query, overview.now_ms)),
                            Err(problem) => p.trouble role="alert" { (problem.message()) },
                        }
                    }
                }
                footer { p { "The same as JSON: " a href="api/v1/overview" { "overview" } ", " a href={ "api/v1/images?" (query_string(query, None)) } { "images" } "." } }
                @if has_token { (token_dialog()) }
            }
        }
    }
}

/// The filters of the inventory: a form that the server answers.
fn search(query: &ImagesQuery) -> Markup {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let state = text(&query.state);
    let select = |value: &Option<String>, options: [(&str, &str); 3]| {
        html! {
            @for (option, label) in options {
                option value=(option) selected[text(value) == option] { (label) }
            }
        }
    };
    html! {
        form.search action="./#inventory" method="get" role="search" {
            label { "Image" input type="search" name="search" value=(text(&query.search)) maxlength="512" autocomplete="off"; }
            label { "Namespace" input type="text" name="namespace" value=(text(&query.namespace)) maxlength="63" autocomplete="off"; }
            label {
                "State"
                select name="state" {
                    option value="" { "any" }
                    @for one in record::State::ALL {
                        option value=(one.as_str()) selected[state == one.as_str()] { (one.as_str()) ": " (words::state(one)) }
                    }
                }
            }
            label {
                "Runs from"
                select name="unreplicated" {
                    (select(&query.unreplicated, [("", "anywhere"), ("true", "outside the target"), ("false", "the target, or not at all")]))
                }
            }
            label {
                "In use"
                select name="in_use" { (select(&query.in_use, [("", "whether or not"), ("true", "by pods now"), ("false", "by no pod")])) }
            }
            button type="submit" { "Search" }
        }
    }
}

fn inventory(images: &Images, query: &ImagesQuery, now_ms: i64) -> Markup {
    let row = |one: &Image| {
        [
            html! {
                (image(&one.source))
                @if one.unreplicated == Some(true) { " " span.badge.unreplicated { "runs unreplicated" } }
                @if let Some(digest) = &one.digest { " " code.digest title=(digest) { (short(&digest.to_string())) } }
            },
            html! {
                @match one.state {
                    Some(state) => span class={ "badge " (state.as_str()) } title=(words::state(state)) { (state.as_str()) },
                    None => "never asked for",
                }
            },
            names(&one.namespaces),
            known(one.size_bytes.as_ref(), |bytes| size(*bytes)),
            known(one.platforms.as_ref(), |platforms| match platforms.as_slice() {
                [] => NOTHING.to_owned(),
                platforms => platforms.join(", "),
            }),
            known(one.signed.as_ref(), |signed| if *signed { "yes" } else { "no" }.to_owned()),
            html! { @match one.first_asked_ms { Some(at) => (moment(at, now_ms)), None => (NOTHING) } },
            html! { @match one.last_asked_ms { Some(at) => (moment(at, now_ms)), None => (NOTHING) } },
            known(one.in_use.as_ref(), |pods| match pods {
                0 => "no".to_owned(),
                1 => "1 pod".to_owned(),
                pods => format!("{pods} pods"),
            }),
        ]
    };
    let columns = [
        "Image",
        "State",
        "For",
        "Size",
        "Platforms",
        "Signed",
        "First asked",
        "Last asked",
        "In use",
    ];
    let rows: Vec<_> = images.images.iter().map(row).collect();
    let shown = rows.len() as u64;
    html! {
        (list("Images that entered the cluster; what runs unreplicated first", "No image fits.", columns, rows, shown))
        p.pages {
            @if query.after.as_ref().is_some_and(|after| !after.is_empty()) {
                a href={ "./?" (query_string(query, None)) "#inventory" } { "First page" } " "
            }
            @if let Some(next) = &images.next {
                a href={ "./?" (query_string(query, Some(next))) "#inventory" } rel="next" { "Next page" } " "
            }
            a href={ "api/v1/images.csv?" (query_string(query, None)) } download { "All as CSV" }
        }
    }
}

fn known<T>(value: Option<&T>, words: impl Fn(&T) -> String) -> Markup {
    html! { (value.map_or_else(|| NOTHING.to_owned(), words)) }
}

/// The first of a digest, by which people tell them apart.
fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

/// The same question, for a link.
fn query_string(query: &ImagesQuery, after: Option<&str>) -> String {
    let mut string = url::form_urlencoded::Serializer::new(String::new());
    let after = after.map(str::to_owned);
    for (key, value) in [
        ("search", &query.search),
        ("namespace", &query.namespace),
        ("state", &query.state),
        ("unreplicated", &query.unreplicated),
        ("in_use", &query.in_use),
        ("after", &after),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            string.append_pair(key, value);
        }
    }
    string.finish()
}

/// Where the script asks for the token.
fn token_dialog() -> Markup {
    html! {
        dialog #token aria-labelledby="title-token" {
            form method="dialog" {
                h2 #title-token { "Token" }
                p { "To try a copy again, this replicator wants the token in its " code { "status.token" } ". It is kept until this page is closed." }
                label { "Token" input #token-field type="password" autocomplete="off" required; }
                p.buttons {
                    button value="use" { "Use it" }
                    button value="cancel" formnovalidate { "Cancel" }
                }
            }
        }
    }
}
