//! What one person is, from their devices or from what their server says.

use std::sync::Arc;

use super::{Shown, State};
use crate::store::ids::DeviceNid;

/// A device counts as connected for so long after its last /sync ended: clients poll again at once, so that a longer silence
/// means that it is gone.
pub(super) const GRACE_MS: i64 = 30_000;

/// Who did nothing for so long is idle (Client-Server API, "Idle timeout").
pub(super) const IDLE_MS: i64 = 5 * 60_000;

/// What another server said holds for so long. Servers repeat it for those who are online: Synapse after 25 minutes.
pub(super) const REMOTE_MS: i64 = 30 * 60_000;

/// Devices of a person that are noted at most.
const MAX_DEVICES: usize = 32;

/// A device that is connected, or was lately.
#[derive(Debug)]
struct Device {
    device: DeviceNid,
    /// Requests to /sync under way.
    requests: u32,
    /// When the last one ended.
    ended_ms: i64,
    /// It says that its user is idle.
    idle: bool,
}

impl Device {
    fn is_connected(&self, now_ms: i64) -> bool {
        self.requests > 0 || now_ms < self.ended_ms + GRACE_MS
    }
}

/// A user of this server.
#[derive(Debug, Default)]
pub(super) struct Local {
    devices: Vec<Device>,
    /// Set by a PUT: not more than this, until activity or another PUT (for `offline`: another PUT).
    at_most: Option<State>,
    last_active_ms: Option<i64>,
    /// The outer None: not read from the store yet.
    pub(super) status: Option<Option<Arc<str>>>,
}

impl Local {
    fn device(&mut self, device: DeviceNid, now_ms: i64) -> Option<(&mut Device, bool)> {
        self.devices.retain(|device| device.is_connected(now_ms));
        if let Some(at) = self.devices.iter().position(|known| known.device == device) {
            return Some((&mut self.devices[at], false));
        }
        if self.devices.len() >= MAX_DEVICES {
            return None;
        }
        self.devices.push(Device { device, requests: 0, ended_ms: now_ms, idle: false });
        self.devices.last_mut().map(|device| (device, true))
    }

    /// A /sync with this `set_presence` begins. Answers whether it counts, so that its end must be told.
    pub(super) fn sync_begins(&mut self, device: DeviceNid, asked: Option<State>, now_ms: i64) -> bool {
        if asked == Some(State::Offline) {
            self.devices.retain(|known| known.device != device);
            return false;
        }
        let idle = asked == Some(State::Unavailable);
        let Some((device, new)) = self.device(device, now_ms) else { return false };
        device.requests = device.requests.saturating_add(1);
        let was_idle = std::mem::replace(&mut device.idle, idle);
        if !idle && (new || was_idle) && self.at_most != Some(State::Offline) {
            // «changing presence state to online» is activity; going on with it is none.
            self.last_active_ms = Some(now_ms);
        }
        if asked == Some(State::Online) {
            self.at_most = None;
        }
        true
    }

    pub(super) fn sync_ends(&mut self, device: DeviceNid, now_ms: i64) {
        // An account that was locked meanwhile has none.
        if let Some(device) = self.devices.iter_mut().find(|known| known.device == device) {
            device.requests = device.requests.saturating_sub(1);
            device.ended_ms = now_ms;
        }
    }

    /// `PUT /presence/{userId}/status`: connects the device, too, as a /sync would that ends now.
    pub(super) fn put(&mut self, device: DeviceNid, state: State, now_ms: i64) {
        self.last_active_ms = Some(now_ms);
        self.at_most = (state != State::Online).then_some(state);
        if state != State::Offline
            && let Some((device, _)) = self.device(device, now_ms)
        {
            device.ended_ms = now_ms;
            device.idle = false;
        }
    }

    /// The user did something that shows that they are there.
    pub(super) fn active(&mut self, device: DeviceNid, now_ms: i64) {
        if self.at_most == Some(State::Offline) {
            return;
        }
        self.last_active_ms = Some(now_ms);
        self.at_most = None;
        if let Some(device) = self.devices.iter_mut().find(|known| known.device == device) {
            device.idle = false;
        }
    }

    /// The account is locked or gone.
    pub(super) fn end(&mut self) {
        self.devices.clear();
        self.at_most = None;
    }

    /// What they are now, and when that may change by itself.
    fn now(&mut self, now_ms: i64) -> (State, Option<i64>) {
        self.devices.retain(|device| device.is_connected(now_ms));
        let silent = self.devices.iter().filter(|device| device.requests == 0);
        let gone_ms = silent.map(|device| device.ended_ms + GRACE_MS).min();
        if self.devices.is_empty() {
            // Who asked not to be seen is not seen when they come back; who was idle may not be.
            self.at_most = self.at_most.filter(|state| *state == State::Offline);
            return (State::Offline, None);
        }
        let idle_ms = self.last_active_ms.unwrap_or(i64::MIN / 2) + IDLE_MS;
        let says_idle = self.devices.iter().all(|device| device.idle);
        let state = if says_idle || idle_ms <= now_ms { State::Unavailable } else { State::Online };
        let state = state.min(self.at_most.unwrap_or(State::Online));
        let idle_ms = (state == State::Online).then_some(idle_ms);
        (state, gone_ms.into_iter().chain(idle_ms).min())
    }
}

/// A user of another server.
#[derive(Debug)]
pub(super) struct Remote {
    /// What their server said last.
    pub(super) said: Shown,
    /// When it said so.
    pub(super) heard_ms: i64,
}

/// Whose user somebody is.
#[derive(Debug)]
pub(super) enum Home {
    /// This server.
    Here(Local),
    /// Another.
    Elsewhere(Remote),
}

impl Home {
    /// What others see now, and when that may change by itself.
    pub(super) fn shown(&mut self, now_ms: i64) -> (Shown, Option<i64>) {
        match self {
            Self::Here(local) => {
                let (state, next_ms) = local.now(now_ms);
                let shown = Shown {
                    state,
                    last_active_ms: local.last_active_ms,
                    // Who is online did something in the last minutes. A shorter time would have each pause told to everybody.
                    currently_active: state == State::Online,
                    status: local.status.clone().flatten(),
                };
                (shown, next_ms)
            }
            Self::Elsewhere(remote) => {
                let over_ms = remote.heard_ms + REMOTE_MS;
                let mut shown = remote.said.clone();
                if shown.state == State::Offline {
                    return (shown, None);
                }
                if over_ms <= now_ms {
                    shown.state = State::Offline;
                    shown.currently_active = false;
                    return (shown, None);
                }
                (shown, Some(over_ms))
            }
        }
    }
}
