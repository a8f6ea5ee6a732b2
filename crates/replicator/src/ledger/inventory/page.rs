//! One page of the inventory: first what pods run from elsewhere than the target, then all the rest
//! by source.

use std::ops::Bound;

use protocol::{ImageReference, Namespace};
use sqlx::AnyConnection;

use super::{Cursor, Filter, MAX_PAGE, Page, Seen};
use crate::ledger::record::Record;
use crate::ledger::rows::{self, places};
use crate::ledger::usage::{Outside, Usage};
use crate::ledger::{LedgerError, contents, looks};

/// Sources that are read at once at least, of which some may not be meant.
const LEAST_STEP: u32 = 100;

/// At most `limit` images after `after`.
pub(super) async fn page(
    connection: &mut AnyConnection,
    usage: &Usage,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page, LedgerError> {
    let mut images = Vec::new();
    let rest_after = match after {
        Some(Cursor::Rest(after)) => after,
        after => {
            if filter.unreplicated != Some(false) {
                images = outside(connection, usage, filter, after, limit).await?;
            }
            String::new()
        }
    };
    if images.len() == limit {
        let next = images.last().map(|last| Cursor::Outside(last.image.to_string()));
        return Ok(Page { images, next });
    }
    if filter.unreplicated == Some(true) {
        return Ok(Page { images, next: None });
    }
    let room = limit - images.len();
    let records = rest(connection, usage, filter, &rest_after, room).await?;
    let is_full = records.len() == room;
    let next = records.last().filter(|_| is_full).map(|last| Cursor::Rest(last.source.to_string()));
    let rest = records.into_iter().map(|record| (record.source.clone(), Some(record))).collect();
    images.append(&mut seen(connection, usage, rest).await?);
    Ok(Page { images, next })
}

/// What runs from elsewhere than the target.
async fn outside(
    connection: &mut AnyConnection,
    usage: &Usage,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Vec<Seen>, LedgerError> {
    if filter.in_use == Some(false) {
        return Ok(Vec::new());
    }
    let begin = match &after {
        Some(Cursor::Outside(after)) => Bound::Excluded(after.as_str()),
        Some(Cursor::Rest(_)) | None => Bound::Unbounded,
    };
    let all = usage.outside.range::<str, _>((begin, Bound::Unbounded));
    let fitting: Vec<_> = all.map(|(_, one)| one).filter(|one| filter.has_outside(one)).collect();
    let mut found = Vec::new();
    for some in fitting.chunks(rows::ROWS_IN_ONE_STATEMENT) {
        let sources: Vec<_> = some.iter().map(|one| one.image.clone()).collect();
        let records = rows::find_all(connection, &sources, "").await?;
        for image in sources {
            let record = records.iter().find(|record| record.source == image).cloned();
            let state = record.as_ref().map(|record| record.state);
            if filter.state.is_none() || filter.state == state {
                found.push((image, record));
            }
        }
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    seen(connection, usage, found).await
}

/// What somebody asked for, without what runs from elsewhere than the target.
async fn rest(
    connection: &mut AnyConnection,
    usage: &Usage,
    filter: &Filter,
    after: &str,
    limit: usize,
) -> Result<Vec<Record>, LedgerError> {
    let is_meant = |record: &Record| {
        let source = record.source.to_string();
        let is_in_use = usage.of(&source).map(|pods| pods > 0);
        !usage.outside.contains_key(&source)
            && (filter.in_use.is_none() || filter.in_use == is_in_use)
    };
    let mut found = Vec::new();
    if filter.in_use == Some(true) {
        // Those few are known: the ledger is asked for them, not looked through.
        let some = usage.pods.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        let some: Vec<_> = some.map(|(source, _)| source.clone()).collect();
        for some in some.chunks(rows::ROWS_IN_ONE_STATEMENT) {
            let (condition, values) = filter.condition("", some);
            let records = rows::list(connection, &condition, &values, MAX_PAGE).await?;
            let mut records: Vec<_> = records.into_iter().filter(is_meant).collect();
            records.sort_unstable_by_key(|record| record.source.to_string());
            found.append(&mut records);
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        return Ok(found);
    }
    let mut after = after.to_owned();
    let step = u32::try_from(limit).unwrap_or(MAX_PAGE).clamp(LEAST_STEP, MAX_PAGE);
    loop {
        let (condition, values) = filter.condition(&after, &[]);
        let records = rows::list(connection, &condition, &values, step).await?;
        let is_last = records.len() < step as usize;
        after = records.last().map(|last| last.source.to_string()).unwrap_or_default();
        found.extend(records.into_iter().filter(is_meant).take(limit - found.len()));
        if is_last || found.len() == limit {
            return Ok(found);
        }
    }
}

/// The same images with what else is known of them.
pub(super) async fn seen(
    connection: &mut AnyConnection,
    usage: &Usage,
    images: Vec<(ImageReference, Option<Record>)>,
) -> Result<Vec<Seen>, LedgerError> {
    let sources: Vec<_> = images.iter().map(|(image, _)| image.to_string()).collect();
    let askers = looks::askers(connection, &sources).await?;
    let mut asked = looks::asked(connection, &sources).await?;
    let mut contents = contents::find(connection, &sources).await?;
    let seen = images.into_iter().zip(sources).map(|((image, record), source)| Seen {
        namespaces: match (&record, usage.outside.get(&source)) {
            (_, Some(outside)) => {
                outside.namespaces.iter().take(looks::NAMESPACES as usize).cloned().collect()
            }
            (Some(record), None) => askers.of(record),
            (None, None) => Vec::new(),
        },
        asked: asked.remove(&source),
        contents: contents.remove(&source),
        in_use: usage.of(&source),
        unreplicated: usage.is_outside(&source),
        image,
        record,
    });
    Ok(seen.collect())
}

impl Filter {
    /// What a row has to be, its order, and the values of the parameters in it. Only rows of
    /// `sources` where there are any.
    fn condition(&self, after: &str, sources: &[String]) -> (String, Vec<String>) {
        let mut conditions = vec!["source > $1".to_owned()];
        let mut values = vec![after.to_owned()];
        let mut add = |condition: &dyn Fn(&str) -> String, value: String| {
            values.push(value);
            conditions.push(condition(&places(values.len(), 1)));
        };
        if let Some(state) = self.state {
            add(&|place| format!("state = {place}"), state.as_str().to_owned());
        }
        if let Some(namespace) = &self.namespace {
            let asked = |place: &str| {
                format!("source IN (SELECT source FROM requests WHERE namespace = {place})")
            };
            add(&asked, namespace.to_string());
        }
        if let Some(search) = &self.search {
            let has = |place: &str| format!("LOWER(source) LIKE {place} ESCAPE '\\'");
            add(&has, pattern(search));
        }
        if !sources.is_empty() {
            conditions.push(format!("source IN ({})", places(values.len() + 1, sources.len())));
            values.extend_from_slice(sources);
        }
        (format!("WHERE {} ORDER BY source", conditions.join(" AND ")), values)
    }

    /// The same of what runs from elsewhere, state aside.
    fn has_outside(&self, outside: &Outside) -> bool {
        let is_found = |search: &String| {
            outside.image.to_string().to_lowercase().contains(&search.to_lowercase())
        };
        let runs_in = |namespace: &Namespace| outside.namespaces.contains(namespace.as_str());
        self.search.as_ref().is_none_or(is_found) && self.namespace.as_ref().is_none_or(runs_in)
    }
}

/// What LIKE compares with to find `text` anywhere.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "%"
}
