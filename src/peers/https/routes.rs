//! Where servers are: resolution of their names, remembered for a while, once at a time for each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture, future::Shared};
use linkim_federation::discovery::{Route, Step, resolve_server_name};
use moka::{policy::EvictionPolicy, sync::Cache};
use ruma::{OwnedServerName, ServerName};
use tokio::sync::Semaphore;

use super::{addresses::AddressRules, delegations::Delegations, resolver::Resolver};
use crate::{peers::transport::TransportError, random::Random};

/// How many routes are remembered.
const MAX_ROUTES: u64 = 10_000;

/// How long a route is believed. Delegations have lifetimes of their own; this one bounds how long a change in the DNS
/// stays unseen, for a server whose old address still answers.
const ROUTE_LIFETIME: Duration = Duration::from_secs(300);

/// How long resolution may take.
const RESOLUTION_TIME: Duration = Duration::from_secs(25);

/// Names that are resolved at once. More wait.
const MAX_RESOLUTIONS: usize = 64;

type Resolution = Shared<BoxFuture<'static, Result<Arc<Route>, TransportError>>>;

/// Routes by the `Host` header that goes with them, for the connector, which is given nothing else. A route is a function
/// of it: the header has the port where one decides, and the host whose records decide otherwise. So the pool's
/// connections serve all names that lead there.
///
/// The bound is twice that of the routes, the least recently used give way, and each use is one: so a route that is in use
/// is there.
#[derive(Clone)]
pub(super) struct Targets(Cache<String, Arc<Route>>);

impl Targets {
    fn new() -> Self {
        Self(Cache::builder().max_capacity(2 * MAX_ROUTES).eviction_policy(EvictionPolicy::lru()).build())
    }

    pub(super) fn get(&self, host_header: &str) -> Option<Arc<Route>> {
        self.0.get(host_header)
    }

    fn put(&self, route: &Arc<Route>) {
        let known = self.0.get(&route.host_header);
        if !known.is_some_and(|known| Arc::ptr_eq(&known, route)) {
            self.0.insert(route.host_header.clone(), route.clone());
        }
    }
}

/// Finds servers.
#[derive(Clone)]
pub(super) struct Routes(Arc<Inner>);

struct Inner {
    resolver: Arc<dyn Resolver>,
    delegations: Delegations,
    rules: Arc<AddressRules>,
    random: Arc<dyn Random>,
    known: Cache<OwnedServerName, Arc<Route>>,
    targets: Targets,
    /// One for each name that somebody waits for.
    under_way: Mutex<HashMap<OwnedServerName, Resolution>>,
    places: Semaphore,
}

impl Routes {
    pub(super) fn new(
        resolver: Arc<dyn Resolver>,
        delegations: Delegations,
        rules: Arc<AddressRules>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self(Arc::new(Inner {
            resolver,
            delegations,
            rules,
            random,
            known: Cache::builder().max_capacity(MAX_ROUTES).time_to_live(ROUTE_LIFETIME).build(),
            targets: Targets::new(),
            under_way: Mutex::default(),
            places: Semaphore::new(MAX_RESOLUTIONS),
        }))
    }

    pub(super) fn targets(&self) -> Targets {
        self.0.targets.clone()
    }

    /// The route to a server.
    pub(super) async fn find(&self, server: &ServerName) -> Result<Arc<Route>, TransportError> {
        let route = match self.0.known.get(server) {
            Some(route) => route,
            None => self.resolution(server).await?,
        };
        self.0.targets.put(&route);
        Ok(route)
    }

    /// Forgets the route to a server, which has failed, so that it is looked for anew.
    pub(super) fn forget(&self, server: &ServerName) {
        self.0.known.invalidate(server);
        // A name that may delegate is a host alone.
        self.0.delegations.doubt(server.as_str());
    }

    /// The resolution that is under way for a name, or a new one. It goes on if nobody waits any more, within its time:
    /// the next try profits.
    fn resolution(&self, server: &ServerName) -> Resolution {
        let mut under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended took itself away, unless it panicked.
        if let Some(resolution) = under_way.get(server).filter(|resolution| resolution.peek().is_none()) {
            return resolution.clone();
        }
        let inner = self.0.clone();
        let name = server.to_owned();
        let task = tokio::spawn(async move {
            let found = match tokio::time::timeout(RESOLUTION_TIME, inner.resolve(&name)).await {
                Ok(found) => found.map(Arc::new),
                Err(_) => Err(TransportError::NoRoute(format!("{name} was not found in time"))),
            };
            if let Ok(route) = &found {
                inner.known.insert(name.clone(), route.clone());
            }
            inner.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            found
        });
        let failed = || TransportError::NoRoute("resolution was interrupted".to_owned());
        let resolution = task.map(move |done| done.unwrap_or_else(|_| Err(failed()))).boxed().shared();
        under_way.insert(server.to_owned(), resolution.clone());
        resolution
    }
}

impl Inner {
    async fn resolve(&self, server: &ServerName) -> Result<Route, TransportError> {
        let none = |reason: String| TransportError::NoRoute(reason);
        let _place = self.places.acquire().await;
        let mut step = resolve_server_name(server).map_err(|error| none(format!("{server}: {error}")))?;
        loop {
            step = match step {
                Step::WellKnown(question) => {
                    let delegated = self.delegations.of(question.host()).await;
                    question.answer(delegated.as_deref())
                }
                Step::Srv(question) => {
                    let records = self.resolver.srv(&question.name()).await;
                    question.answer(records, |highest| self.draw(highest))
                }
                Step::Addresses(question) => {
                    let addresses = self.resolver.addresses(question.host()).await;
                    question.answer(addresses)
                }
                Step::Failed(error) => return Err(none(error.to_string())),
                Step::Done(route) => return self.reachable(server, route),
            };
        }
    }

    /// The route, if one of its addresses may be connected to. The connector asks again.
    fn reachable(&self, server: &ServerName, route: Route) -> Result<Route, TransportError> {
        if self.rules.permitted(&route.addresses).next().is_none() {
            return Err(TransportError::Private(server.to_string()));
        }
        Ok(route)
    }

    /// A number from 0 to `highest`.
    fn draw(&self, highest: u32) -> u32 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u32::try_from(u64::from_le_bytes(bytes) % (u64::from(highest) + 1)).unwrap_or_default()
    }
}
