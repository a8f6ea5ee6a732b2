//! The parts of the page that change while somebody looks, as HTML. Whatever comes from outside is
//! text to maud, which escapes it.

use maud::{Markup, html};
use protocol::{ImageReference, RefusalCode};

use super::documents::{
    Copying, Failed, Health, Overview, Quota, RegistryHealth, Transfer, Waiting,
};
use super::words::{self, NOTHING, ago, ahead, duration, size};
use crate::clock::Timestamp;
use crate::ledger::record::State;

/// Rows that a list on the page has at most; the API has more.
const ROWS: usize = 25;

/// All parts, by the id of the element that each belongs in.
pub(super) fn sections(overview: &Overview, has_token: bool) -> [(&'static str, Markup); 7] {
    [
        ("summary", summary(overview)),
        ("troubles", troubles(overview)),
        ("copying", copying(overview)),
        ("failed", failed(&overview.failed, overview.totals.failed, overview.now_ms, has_token)),
        ("waiting", waiting(overview)),
        ("stale", stale(overview, has_token)),
        ("registries", registries(&overview.registries)),
    ]
}

/// How many there are of each kind.
fn summary(overview: &Overview) -> Markup {
    let counts = &overview.counts;
    let figure = |name: &str, label: &str, count: u64| {
        html! { div class={ "figure " (name) } { dt { (label) } dd id={ "count-" (name) } { (count) } } }
    };
    html! {
        dl.figures {
            (figure("copying", "copying", overview.totals.copying))
            (figure("waiting", "waiting", overview.totals.waiting))
            (figure("failed", "failed", counts.failed))
            (figure("refused", "refused", counts.refused))
            (figure("stale", "stale", counts.stale))
            (figure("present", "present", counts.present))
        }
    }
}

/// What is wrong with the replicator itself.
fn troubles(overview: &Overview) -> Markup {
    html! {
        @if !overview.ledger.writable {
            p.trouble { strong { "The ledger cannot be written." } " Nothing new is taken on; the log says why." }
        }
        @for trouble in &overview.troubles { p.trouble { (trouble) } }
    }
}

fn copying(overview: &Overview) -> Markup {
    let row = |copying: &Copying| {
        [
            image(&copying.source),
            html! { (copying.namespace) },
            html! {
                @if copying.state != State::Copying { "looking whether it is current" }
                @else if let Some(transfer) = &copying.progress { (bar(&copying.source, transfer)) }
                @else { "at another replicator" }
            },
            html! { (rate(copying.progress.as_ref())) },
            html! { (left(copying.progress.as_ref())) },
            moment(copying.since_ms, overview.now_ms),
        ]
    };
    let columns = ["Image", "For", "Done", "Rate", "Time left", "Since"];
    let rows = overview.copying.iter().take(ROWS).map(row).collect();
    list("Copies under way", "Nothing is being copied.", columns, rows, overview.totals.copying)
}

fn bar(source: &ImageReference, transfer: &Transfer) -> Markup {
    let Transfer { layers_done, layers_total, bytes_done, bytes_total, .. } = transfer;
    html! {
        @if *bytes_total == 0 {
            progress aria-label={ "Copy of " (source) } {}
            span.detail { "size not yet known" }
        } @else {
            progress max=(bytes_total) value=(bytes_done.min(bytes_total)) aria-label={ "Copy of " (source) } {}
            span.detail {
                (transfer.percent()) " % of " (size(*bytes_total))
                ", " (layers_done) " of " (layers_total) " layers"
            }
        }
    }
}

fn rate(transfer: Option<&Transfer>) -> String {
    let rate = transfer.and_then(|transfer| transfer.rate_bytes_per_second);
    rate.map_or_else(|| NOTHING.to_owned(), |rate| format!("{}/s", size(rate)))
}

fn left(transfer: Option<&Transfer>) -> String {
    let left_ms = transfer.and_then(|transfer| transfer.left_ms);
    match left_ms {
        None => NOTHING.to_owned(),
        Some(0..1_000) => "a moment".to_owned(),
        Some(left_ms) => format!("about {}", duration(left_ms)),
    }
}

fn waiting(overview: &Overview) -> Markup {
    let row = |waiting: &Waiting| {
        [
            image(&waiting.source),
            names(&waiting.namespaces),
            html! { (words::priority(waiting.priority)) },
            moment(waiting.since_ms, overview.now_ms),
        ]
    };
    let columns = ["Image", "For", "Why", "Since"];
    let rows = overview.waiting.iter().take(ROWS).map(row).collect();
    list(
        "What waits, in the order of the queue",
        "Nothing waits.",
        columns,
        rows,
        overview.totals.waiting,
    )
}

fn failed(failed: &[Failed], total: u64, now_ms: i64, has_token: bool) -> Markup {
    let row = |failed: &Failed| {
        [
            image(&failed.source),
            names(&failed.namespaces),
            reason(failed),
            html! { (failed.attempts) },
            html! {
                @match failed.next_try_ms {
                    Some(next_try_ms) => { (ahead(next_try_ms, now_ms)) },
                    None => "when asked for",
                }
            },
            retry(failed, has_token),
        ]
    };
    let columns = ["Image", "For", "Why", "Tries", "Next try", "Do"];
    let rows = failed.iter().take(ROWS).map(row).collect();
    list("Copies that failed, the newest first", "Nothing failed.", columns, rows, total)
}

fn stale(overview: &Overview, has_token: bool) -> Markup {
    let row = |stale: &Failed| {
        let checked_at = stale.checked_at_ms;
        [
            image(&stale.source),
            names(&stale.namespaces),
            reason(stale),
            html! {
                @match checked_at { Some(at) => (moment(at, overview.now_ms)), None => (NOTHING) }
            },
            retry(stale, has_token),
        ]
    };
    let columns = ["Image", "For", "Why", "Was current", "Do"];
    let rows = overview.stale.iter().take(ROWS).map(row).collect();
    let none = "No replica is stale.";
    list(
        "Replicas that may not be what their source is",
        none,
        columns,
        rows,
        overview.totals.stale,
    )
}

fn reason(failed: &Failed) -> Markup {
    html! {
        @match &failed.failure {
            Some(failure) => {
                span class={ "badge " (failed.state.as_str()) } { (failed.state.as_str()) }
                " "
                // The badge says as much; the side is in the message.
                @if failure.code != RefusalCode::Failed { (failure.code.as_str()) ": " }
                span.message { (failure.message) }
            },
            None => (NOTHING),
        }
    }
}

/// A button that only a script makes use of.
fn retry(failed: &Failed, has_token: bool) -> Markup {
    html! {
        @if has_token {
            button.scripted type="button" id={ "retry " (failed.source) } data-retry=(failed.source)
                aria-label={ "Retry " (failed.source) } { "Retry" }
        } @else { (NOTHING) }
    }
}

fn registries(all: &[RegistryHealth]) -> Markup {
    let row = |one: &RegistryHealth| {
        let health = match one.health {
            Health::Well => "well",
            Health::Paused => "paused",
            Health::Probed => "being tried",
            Health::Dead => "no answer",
        };
        let answers = one.requests.iter().filter(|(_, count)| **count > 0);
        let answers: Vec<_> = answers.map(|(class, count)| format!("{class}: {count}")).collect();
        [
            html! { (one.registry) },
            html! {
                span class={ "badge " (health.replace(' ', "-")) } { (health) }
                @if let Some(paused_ms) = one.paused_ms { " for " (duration(paused_ms)) }
            },
            html! { (one.in_flight) " of " (one.allowed) },
            html! { (one.quota.as_ref().map_or_else(|| NOTHING.to_owned(), quota)) },
            html! { (answers.join(", ")) },
            html! { (size(one.read_bytes)) },
            html! { (size(one.written_bytes)) },
        ]
    };
    let columns = ["Registry", "Health", "Requests", "Rate limit", "Answers", "Read", "Written"];
    let total = all.len() as u64;
    let rows = all.iter().take(ROWS).map(row).collect();
    list("Registries, as this replicator sees them", "None was asked yet.", columns, rows, total)
}

fn quota(quota: &Quota) -> String {
    let of = quota.limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let window = quota.window_ms.map(|ms| format!(" in {}", duration(ms))).unwrap_or_default();
    format!("{}{of} left{window}", quota.remaining)
}

/// An image's name, which may break where it is long.
pub(super) fn image(source: &ImageReference) -> Markup {
    html! { span.image { (source) } }
}

/// Some namespaces.
pub(super) fn names(names: &[String]) -> Markup {
    html! { @if names.is_empty() { (NOTHING) } @else { (names.join(", ")) } }
}

/// A moment of the past.
pub(super) fn moment(at_ms: i64, now_ms: i64) -> Markup {
    let at = Timestamp::from_ms(at_ms).to_string();
    html! { time datetime=(at) title=(at) { (ago(at_ms, now_ms)) } }
}

/// A table of some of `total` rows, or words where there is none.
pub(super) fn list<const N: usize>(
    caption: &str,
    none: &str,
    columns: [&str; N],
    rows: Vec<[Markup; N]>,
    total: u64,
) -> Markup {
    let more = total.saturating_sub(rows.len() as u64);
    html! {
        @if rows.is_empty() { p.none { (none) } } @else {
            table role="table" {
                caption { (caption) }
                thead role="rowgroup" {
                    tr role="row" { @for column in columns { th scope="col" role="columnheader" { (column) } } }
                }
                tbody role="rowgroup" {
                    @for row in rows {
                        tr role="row" {
                            @for (cell, column) in row.into_iter().zip(columns) {
                                td role="cell" data-label=(column) { div { (cell) } }
                            }
                        }
                    }
                }
            }
            @if more > 0 { p.more { "and " (more) " more" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::testing::failed as failing;

    /// A part of the page, as HTML with a line for each tag.
    fn part(overview: &Overview, id: &str, has_token: bool) -> String {
        let sections = sections(overview, has_token).into_iter();
        let found = sections.into_iter().find(|(name, _)| *name == id).unwrap();
        found.1.into_string().replace("><", ">\n<")
    }

    #[test]
    fn a_failure_is_told_with_who_waits_and_a_button_for_who_has_a_token() {
        let overview = failing("it is down");
        insta::assert_snapshot!(part(&overview, "failed", true));
        assert!(!part(&overview, "failed", false).contains("<button"));
    }

    #[test]
    fn what_strangers_say_is_text() {
        for hostile in
            ["</td><script>x</script>", "<img src=x onerror=alert(1)>", "\" autofocus onfocus=\"x"]
        {
            let html = part(&failing(hostile), "failed", true);
            assert!(!html.contains(hostile), "{html}");
            let tags = html.matches('<').count();
            assert_eq!(tags, part(&failing("it is down"), "failed", true).matches('<').count());
        }
    }

    #[test]
    fn a_list_that_is_cut_says_so() {
        let mut overview = failing("it is down");
        overview.totals.failed = 120;
        assert!(part(&overview, "failed", true).contains("and 119 more"));
    }

    #[test]
    fn a_copy_has_a_bar_that_says_what_it_is_of() {
        let progress = Transfer {
            layers_done: 2,
            layers_total: 5,
            bytes_done: 43 << 20,
            bytes_total: 100 << 20,
            rate_bytes_per_second: Some(5 << 20),
            left_ms: Some(11_400),
        };
        let copying = |progress| Copying {
            source: "nginx:1.27".parse().unwrap(),
            target: "registry.corp/docker.io/library/nginx:1.27".parse().unwrap(),
            state: State::Copying,
            namespace: "shop".to_owned(),
            replicator: "0123".to_owned(),
            since_ms: 0,
            progress,
        };
        let begun = Transfer { bytes_total: 0, left_ms: None, ..progress };
        let copying = vec![copying(Some(progress)), copying(Some(begun)), copying(None)];
        let overview = Overview { copying, now_ms: 180_000, ..Overview::default() };
        insta::assert_snapshot!(part(&overview, "copying", true));
    }
}
