//! Holds the router to `spec/matrix-coverage.tsv`, the table of the operations that Matrix specifies.

/// The checked-in table.
const TABLE: &str = include_str!("../../spec/matrix-coverage.tsv");

/// Routes under `/_matrix` that the table does not have: method and path, `*` at the end of a path for anything after it.
const EXTRAS: &[(&str, &str)] = &[
    // Proposals that clients use before they are specified.
    ("GET", "/_matrix/client/unstable/*"),
    ("PUT", "/_matrix/client/unstable/*"),
    ("POST", "/_matrix/client/unstable/*"),
    ("DELETE", "/_matrix/client/unstable/*"),
    // An empty state key may be left out of the path, with or without the slash before it.
    ("GET", "/_matrix/client/v3/rooms/{}/state/{}"),
    ("PUT", "/_matrix/client/v3/rooms/{}/state/{}"),
    ("GET", "/_matrix/client/v3/rooms/{}/state/{}/"),
    ("PUT", "/_matrix/client/v3/rooms/{}/state/{}/"),
    // Clients of the time before the trailing slash was specified.
    ("GET", "/_matrix/client/v3/pushrules"),
];

/// Where the router and the coverage table disagree, one line each; empty where all is well.
///
/// `routes` are the method in upper case and the path template of every route, as the router has them
/// (`/_matrix/client/v3/rooms/{room_id}/state`); names of parameters do not matter, and neither does a `/r0` for `/v3`.
/// A row that is not `no` needs its route; a route under `/_matrix` or `/.well-known/matrix` needs a row that is not
/// `no`, or a place among the extras.
pub(crate) fn disagreements<'a>(
    routes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<String> {
    disagreements_with(TABLE, routes)
}

fn disagreements_with<'a>(
    table: &str,
    routes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<String> {
    let routes: Vec<(&str, String)> = routes
        .into_iter()
        .map(|(method, path)| (method, normal_form(path)))
        .collect();
    let mut complaints = Vec::new();
    let mut served = Vec::new();
    for row in table.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [method, path, _operation, _document, state, remark] = columns[..] else {
            complaints.push(format!("the row does not have six columns: {row}"));
            continue;
        };
        match state {
            "no" => continue,
            "yes" => {}
            "partial" if !remark.is_empty() => {}
            _ => complaints.push(format!(
                "served is yes, no, or partial with a remark: {row}"
            )),
        }
        let route = (method, normal_form(path));
        if !routes.contains(&route) {
            complaints.push(format!(
                "the table says {state}, the router has no {method} {path}"
            ));
        }
        served.push(route);
    }
    for (method, path) in &routes {
        let specified = path.starts_with("/_matrix/") || path.starts_with("/.well-known/matrix/");
        let current =
            path.replacen("/client/r0/", "/client/v3/", 1)
                .replacen("/media/r0/", "/media/v3/", 1);
        if specified && !served.contains(&(*method, current.clone())) && !is_extra(method, &current)
        {
            complaints.push(format!(
                "the router has {method} {path}, the table does not say that it is served"
            ));
        }
    }
    complaints
}

fn is_extra(method: &str, path: &str) -> bool {
    EXTRAS.iter().any(|(extra_method, extra)| {
        *extra_method == method
            && match extra.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => *extra == path,
            }
    })
}

/// The path with `{}` for each parameter, whatever its name, catch-all ones included.
fn normal_form(path: &str) -> String {
    path.split('/')
        .map(|component| {
            if component.starts_with('{') && component.ends_with('}') {
                "{}"
            } else {
                component
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::disagreements_with;

    const TABLE: &str = "method\tpath\toperation\tdocument\tserved\tremark\n\
        GET\t/_matrix/client/v3/sync\tsync\tclient-server/sync\tyes\t\n\
        GET\t/_matrix/client/v3/profile/{userId}\tgetUserProfile\tclient-server/profile\tpartial\tno remote users\n\
        GET\t/_matrix/client/v3/events\tgetEvents\tclient-server/old_sync\tno\t\n";

    #[test]
    fn agreement_is_silent() {
        let routes = [
            ("GET", "/_matrix/client/v3/sync"),
            ("GET", "/_matrix/client/v3/profile/{user_id}"),
            ("GET", "/_matrix/client/r0/profile/{user_id}"),
            ("PUT", "/_matrix/client/unstable/org.example/x"),
            ("GET", "/health"),
        ];
        assert_eq!(disagreements_with(TABLE, routes), Vec::<String>::new());
    }

    #[test]
    fn a_promise_without_a_route_is_named() {
        let complaints = disagreements_with(TABLE, [("GET", "/_matrix/client/v3/sync")]);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(
            complaints[0].contains("/profile/{userId}"),
            "{complaints:?}"
        );
    }

    #[test]
    fn a_route_that_the_table_denies_or_lacks_is_named() {
        let routes = [
            ("GET", "/_matrix/client/v3/sync"),
            ("GET", "/_matrix/client/v3/profile/{user_id}"),
            ("GET", "/_matrix/client/v3/events"),
            ("POST", "/_matrix/client/v3/sync"),
        ];
        assert_eq!(disagreements_with(TABLE, routes).len(), 2);
    }

    #[test]
    fn a_partial_row_needs_a_remark() {
        let table = "h\nGET\t/_matrix/a\ta\td\tpartial\t";
        assert_eq!(disagreements_with(table, [("GET", "/_matrix/a")]).len(), 1);
    }
}
