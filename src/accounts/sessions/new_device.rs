//! What a client says of the device that it logs in with.

use ruma::OwnedDeviceId;

use super::Platform;

/// Longest device id and device name, in bytes.
const MAX_DEVICE_TEXT: usize = 255;

/// A device that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceRefused {
    /// Its id is empty or longer than 255 bytes.
    #[error("A device id has 1 to {MAX_DEVICE_TEXT} bytes")]
    Id,
    /// Its name is longer than 255 bytes.
    #[error("The device's display name is longer than {MAX_DEVICE_TEXT} bytes")]
    Name,
    /// Its id is the public half of one of the user's cross-signing keys (Client-Server API, "Cross-signing").
    #[error("This device id is the user's cross-signing key")]
    CrossSigningKey,
}

/// What a client says of the device that it logs in with.
#[derive(Clone, Debug, Default)]
pub struct NewDevice {
    pub(super) device_id: Option<OwnedDeviceId>,
    pub(super) display_name: Option<String>,
    pub(super) refresh_token: bool,
    pub(super) platform: Platform,
}

impl NewDevice {
    /// A device with the id that the client wishes, or a new one; the name counts only if the device is new. With
    /// `refresh_token` the access token will expire.
    pub fn new(
        device_id: Option<String>,
        display_name: Option<String>,
        refresh_token: bool,
    ) -> Result<Self, DeviceRefused> {
        let id_fits = |id: &String| !id.is_empty() && id.len() <= MAX_DEVICE_TEXT;
        if !device_id.as_ref().is_none_or(id_fits) {
            return Err(DeviceRefused::Id);
        }
        if let Some(name) = &display_name {
            check_device_name(name)?;
        }
        Ok(Self {
            device_id: device_id.map(OwnedDeviceId::from),
            display_name,
            refresh_token,
            platform: Platform::NONE,
        })
    }

    /// As LinkIM's clients log in: on a platform, whose name a new device without one gets.
    #[must_use]
    pub fn on(mut self, platform: Platform) -> Self {
        self.platform = platform;
        if platform != Platform::NONE && self.display_name.is_none() {
            self.display_name = Some(format!("LinkIM {}", platform.name()));
        }
        self
    }
}

/// Whether a device can have this name.
pub(in crate::accounts) fn check_device_name(name: &str) -> Result<(), DeviceRefused> {
    if name.len() > MAX_DEVICE_TEXT {
        return Err(DeviceRefused::Name);
    }
    Ok(())
}
