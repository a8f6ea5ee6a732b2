//! The inventory as CSV, for spreadsheets: all pages, as the ledger gives them.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::stream;

use super::Status;
use super::answer::{Problem, Query};
use super::api::ImagesQuery;
use super::documents::{Image, Images};
use crate::clock::Timestamp;
use crate::ledger::inventory::MAX_PAGE;

const COLUMNS: [&str; 14] = [
    "source",
    "target",
    "state",
    "digest",
    "size_bytes",
    "platforms",
    "referrers",
    "signed",
    "namespaces",
    "first_asked",
    "last_asked",
    "checked_at",
    "in_use",
    "unreplicated",
];

/// `GET /api/v1/images.csv`: what `images` shows, without pages.
pub(super) async fn images(
    State(status): State<Status>,
    Query(query): Query<ImagesQuery>,
) -> Result<impl IntoResponse, Problem> {
    let query = ImagesQuery { limit: Some(MAX_PAGE), ..query };
    // The first page tells whether the question is good, while there is still a status to send.
    let first = status.images(&query).await?;
    let pages = stream::unfold(Some((first, true)), move |page| {
        let (status, query) = (status.clone(), query.clone());
        async move {
            let (page, is_first) = page?;
            let text = match text(&page, is_first) {
                Ok(text) => text,
                Err(error) => return Some((Err(error), None)),
            };
            let next = match page.next {
                None => None,
                after => match status.images(&ImagesQuery { after, ..query }).await {
                    Ok(page) => Some((page, false)),
                    // The reader sees a body that is cut, not one that ends early.
                    Err(problem) => {
                        return Some((
                            Err(std::io::Error::other(problem.message().to_owned())),
                            None,
                        ));
                    }
                },
            };
            Some((Ok(text), next))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"images.csv\""),
    ];
    Ok((headers, Body::from_stream(pages)))
}

fn text(page: &Images, has_head: bool) -> Result<Bytes, std::io::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if has_head {
        writer.write_record(COLUMNS)?;
    }
    for image in &page.images {
        writer.write_record(row(image))?;
    }
    writer.into_inner().map(Bytes::from).map_err(|error| error.into_error())
}

/// Lists have blanks between their parts, times are RFC 3339, and what is not known is empty.
fn row(image: &Image) -> [String; COLUMNS.len()] {
    let time = |ms: Option<i64>| text_of(ms.map(Timestamp::from_ms));
    let referrers = image.referrers.as_ref().map(|referrers| {
        let counts = referrers.iter().map(|(kind, count)| format!("{kind}={count}"));
        counts.collect::<Vec<_>>().join(" ")
    });
    [
        image.source.to_string(),
        text_of(image.target.as_ref()),
        text_of(image.state.map(|state| state.as_str())),
        text_of(image.digest.as_ref()),
        text_of(image.size_bytes),
        text_of(image.platforms.as_ref().map(|platforms| platforms.join(" "))),
        text_of(referrers),
        text_of(image.signed),
        image.namespaces.join(" "),
        time(image.first_asked_ms),
        time(image.last_asked_ms),
        time(image.checked_at_ms),
        text_of(image.in_use),
        text_of(image.unreplicated),
    ]
    .map(harmless)
}

fn text_of(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A spreadsheet takes a cell that begins so for a formula, and would run a stranger's.
fn harmless(cell: String) -> String {
    match cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        true => format!("'{cell}"),
        false => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::testing::image;

    fn lines(images: Vec<Image>) -> String {
        let text = text(&Images { images, next: None }, true).unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn a_cell_with_a_comma_a_quote_or_a_line_is_one_cell() {
        let namespaces = vec!["a,b".to_owned(), "say \"hi\"\nthere".to_owned()];
        let image = Image { namespaces: namespaces.clone(), ..image() };
        let text = lines(vec![image]);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let row = reader.records().next().unwrap().unwrap();
        assert_eq!(row.len(), COLUMNS.len());
        assert_eq!(row.get(8), Some(namespaces.join(" ").as_str()));
    }

    #[test]
    fn no_cell_is_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"] {
            let image = Image { namespaces: vec![formula.to_owned()], ..image() };
            let text = lines(vec![image]);
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            let row = reader.records().next().unwrap().unwrap();
            assert_eq!(row.get(8), Some(format!("'{formula}").as_str()));
        }
    }

    #[test]
    fn a_row_is_as_people_import_it() {
        insta::assert_snapshot!(lines(vec![image()]));
    }
}
