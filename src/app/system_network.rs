//! `chrome.system.network` of one app.

use crate::answer::Answer;
use crate::app::caller::Caller;
use crate::os::NetworkInterface;
use crate::registry::GetNetworkInterfaces;

/// `chrome.system.network` of an [`App`](crate::App).
///
/// ```
/// use chrome_sockets::{App, Registry};
///
/// # actix_rt::System::new().block_on(async {
/// let app = App::new("my-app", &Registry::new().start());
/// for interface in app.system_network.get_network_interfaces().await? {
///     println!("{} {}/{}", interface.name, interface.address, interface.prefix_length);
/// }
/// # Ok::<_, chrome_sockets::Error>(())
/// # }).expect("Linux tells its interfaces");
/// ```
#[derive(Clone, Debug)]
pub struct SystemNetwork {
    caller: Caller,
}

impl SystemNetwork {
    pub(super) fn new(caller: Caller) -> Self {
        SystemNetwork { caller }
    }

    /// `getNetworkInterfaces`: the addresses of the network interfaces that are up and connected,
    /// those of IPv4 first, in the order of their bytes; at most
    /// [`MAX_INTERFACES`](crate::os::MAX_INTERFACES).
    ///
    /// As in Chrome the loopback interface is left out, and so are IPv6 addresses that Linux still
    /// checks for duplicates. Link-local, temporary and deprecated addresses are in the list. An
    /// address that two interfaces have is in it once.
    ///
    /// # Errors
    /// - [`ApiDenied`](crate::Error::ApiDenied) without the
    ///   [permission](crate::Permissions::may_get_network_interfaces) `system.network`.
    /// - [`NetworkListFailed`](crate::Error::NetworkListFailed) if the OS does not tell its
    ///   interfaces, and on another OS than Linux. The log has the reason.
    /// - [`Stopped`](crate::Error::Stopped).
    pub fn get_network_interfaces(&self) -> Answer<Vec<NetworkInterface>> {
        self.caller.call(GetNetworkInterfaces::new)
    }
}
