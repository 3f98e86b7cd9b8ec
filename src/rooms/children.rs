//! What relates to an event, page by page.
//!
//! Source: Client-Server API, "Relationships API": `GET /rooms/{roomId}/relations/{eventId}` and its longer forms.

use ruma::EventId;

use super::{
    access::{OpenRoom, ReadError},
    page_scan::{BEGINNING, Bound, Direction, END, Scan, Verdict},
    page_token::PageToken,
    timeline::visible,
};
use crate::store::{
    event_pages,
    events::{EventRow, Topological},
    ids, relations,
    relations::Children,
};

/// Relations followed from the event, if the client asks for indirect ones: the spec's least.
pub const MAX_LEVELS: i64 = 3;

/// Rows read for one page at most.
const MAX_ROWS: usize = 2000;

/// Which children of an event are asked for.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// With this `rel_type`; None: any.
    pub rel_type: Option<&'a str>,
    /// Of this event type; None: any.
    pub event_type: Option<&'a str>,
    /// Whether children of children count, too.
    pub recurse: bool,
    /// Where the page begins; None: at the end of history, or, forwards, at its beginning.
    pub from: Option<PageToken>,
    /// Where it must not go beyond.
    pub to: Option<PageToken>,
    /// Which way.
    pub direction: Direction,
    /// Events at most.
    pub limit: usize,
}

/// A page of children: (JSON array, where the next one begins).
///
/// # Errors
/// `NotFound` for a parent that the viewer may not see, or [`StoreError`](crate::store::StoreError).
pub fn page(
    open: &mut OpenRoom<'_>,
    parent: &EventId,
    asked: &Asked<'_>,
) -> Result<(String, Option<PageToken>), ReadError> {
    let read = open.read;
    let parent = visible(open, parent)?;
    let number = |name: Option<&str>| name.map(|name| ids::type_nid(read, name)).transpose();
    let (relation, kind) = (number(asked.rel_type)?, number(asked.event_type)?);
    // A name that never occurred: nothing relates that way.
    if relation == Some(None) || kind == Some(None) {
        return Ok(("[]".to_owned(), None));
    }
    let forwards = asked.direction == Direction::Forwards;
    let mut query = Children {
        relation: relation.flatten(),
        kind: kind.flatten(),
        levels: if asked.recurse { MAX_LEVELS } else { 1 },
        after: i64::MIN,
        up_to: open.up_to(),
        from: if forwards { BEGINNING } else { END },
        forwards,
        limit: asked.limit + 1,
    };
    let bound = Bound::new(read, open.room.nid, asked.direction, asked.to)?;
    match (asked.direction, asked.from) {
        (_, None) => {}
        (_, Some(PageToken::Topological { depth, position })) => {
            query.from = Topological { depth, position };
        }
        (Direction::Backwards, Some(PageToken::Sync(at))) => query.up_to = query.up_to.min(at),
        (Direction::Forwards, Some(PageToken::Sync(at))) => query.after = at,
    }
    fill(open, &parent.row, query, &bound, asked.limit)
}

fn fill(
    open: &mut OpenRoom<'_>,
    parent: &EventRow,
    mut query: Children,
    bound: &Bound,
    limit: usize,
) -> Result<(String, Option<PageToken>), ReadError> {
    let ignored = open.renderer.ignored()?;
    let mut scan = match query.forwards {
        true => Scan::Forth { from: query.from, up_to: query.up_to },
        false => Scan::Back { from: query.from, up_to: query.up_to },
    };
    let (mut out, mut count, mut seen) = (String::from("["), 0, 0);
    let more = 'pages: loop {
        let rows = relations::children(open.read, parent, &query)?;
        seen += rows.len();
        for row in &rows {
            match bound.judge(row, false) {
                Verdict::Beyond => break 'pages false,
                _ if count == limit => break 'pages true,
                verdict => {
                    scan.pass(row);
                    let unwanted = row.state_key.is_none() && ignored.contains(&row.sender);
                    if verdict == Verdict::LeftOut || unwanted || !open.renderer.allows(row)? {
                        continue;
                    }
                }
            }
            if count > 0 {
                out.push(',');
            }
            open.renderer.event(&event_pages::of(open.read, row)?, &mut out)?;
            count += 1;
        }
        if rows.len() < query.limit {
            break false;
        }
        if seen >= MAX_ROWS {
            break true;
        }
        query.from = scan.place();
    };
    out.push(']');
    Ok((out, more.then(|| scan.token(open.read))))
}

#[cfg(test)]
#[path = "children_tests.rs"]
mod tests;
