//! The same as lines for people. The last one sums up.

use std::fmt::{self, Display, Formatter};

use anstyle::Style;

use super::{Document, Image, Mention, State, Total};
use crate::commands::table::printable;
use crate::commands::words::{BAD, DOUBTFUL, GOOD, HEAD, size};
use crate::manifests::NamedBy;

/// ```text
/// docker.io/library/nginx:1.27
///   state     missing: 71.2 MiB to copy, of 73.0 MiB
///   target    registry.corp/mirror/docker.io/library/nginx:1.27
///   rule      hub
///   named by  Deployment shop/web, container web (document 3)
///
/// 1 image: 1 to copy, 71.2 MiB
/// ```
impl Display for Document {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for image in &self.images {
            writeln!(f, "{image}")?;
        }
        if !self.mentions.is_empty() {
            writeln!(f, "Named, but not in a pod (its own operator decides what becomes of it):")?;
            for Mention { image, named_by } in &self.mentions {
                writeln!(f, "  {image}  {}", Who(named_by))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{}", self.total)
    }
}

impl Display for Image {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}{}{HEAD:#}", printable(&self.image))?;
        let style = self.state.style();
        write!(f, "  state     {style}{}{style:#}", self.state)?;
        match (self.to_copy_bytes, self.size_bytes, &self.reason) {
            (Some(to_copy), Some(all), _) => {
                write!(f, ": {} to copy, of {}", size(to_copy), size(all))?;
            }
            (_, _, Some(reason)) => write!(f, ": {}", printable(reason))?,
            _ => {}
        }
        writeln!(f)?;
        if let Some(source) = self.source.as_ref().filter(|source| **source != self.image) {
            writeln!(f, "  source    {source}")?;
        }
        if let Some(target) = &self.target {
            writeln!(f, "  target    {target}")?;
        }
        if let Some(rule) = &self.rule {
            writeln!(f, "  rule      {rule}")?;
        }
        for (key, by) in
            std::iter::once("named by").chain(std::iter::repeat("")).zip(&self.named_by)
        {
            writeln!(f, "  {key:8}  {}", Who(by))?;
        }
        Ok(())
    }
}

impl State {
    fn style(self) -> Style {
        match self {
            Self::Present => GOOD,
            Self::Outdated | Self::Missing => DOUBTFUL,
            Self::Refused | Self::Unknown => BAD,
            Self::NotAsked => Style::new(),
        }
    }
}

impl Display for State {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "present",
            Self::Outdated => "outdated",
            Self::Missing => "missing",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::NotAsked => "allowed",
        })
    }
}

/// `Deployment shop/web, container web (document 3)`
struct Who<'a>(&'a NamedBy);

impl Display for Who<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let NamedBy { document, kind, namespace, name, place } = self.0;
        let [kind, name, place] = [kind, name, place].map(|text| printable(text));
        write!(f, "{kind} {namespace}/{name}, {place} (document {document})")
    }
}

/// `3 images: 1 to copy, at least 71.20 MiB, 1 refused, 1 unknown`
impl Display for Total {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { images, present, to_copy, refused, unknown, not_asked, to_copy_bytes } = *self;
        let plural = if images == 1 { "" } else { "s" };
        let least = if unknown > 0 { "at least " } else { "" };
        write!(f, "{images} image{plural}: ")?;
        match not_asked {
            0 => write!(f, "{to_copy} to copy, {least}{}", size(to_copy_bytes))?,
            _ => write!(f, "{not_asked} allowed")?,
        }
        for (number, word) in [(present, "present"), (refused, "refused"), (unknown, "unknown")] {
            if number > 0 {
                write!(f, ", {number} {word}")?;
            }
        }
        Ok(())
    }
}
