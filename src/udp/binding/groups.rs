//! Multicast groups and broadcasts.

use std::net::IpAddr;

use crate::error::Error;
use crate::invalid_argument::InvalidArgument;
use crate::net_error::{self, NetError};
use crate::udp::binding::state::SocketState;

impl SocketState {
    pub(in crate::udp) fn join_group(&mut self, address: &str) -> Result<(), Error> {
        let group = self.permitted_group(address)?;
        let Some(binding) = &mut self.binding else {
            return Err(NetError::UNEXPECTED.into());
        };
        if binding.groups.contains(&group) || binding.local.is_ipv4() != group.is_ipv4() {
            return Err(NetError::ADDRESS_INVALID.into());
        }
        if !group.is_multicast() {
            return Err(InvalidArgument::NotMulticast.into());
        }
        let joined = binding.datagrams.join_group(group);
        joined.map_err(|error| net_error::listen(&error))?;
        binding.groups.push(group);
        Ok(())
    }

    pub(in crate::udp) fn leave_group(&mut self, address: &str) -> Result<(), Error> {
        let group = self.permitted_group(address)?;
        let binding = self.binding.as_mut();
        let Some(binding) = binding.filter(|binding| binding.groups.contains(&group)) else {
            return Err(NetError::ADDRESS_INVALID.into());
        };
        let left = binding.datagrams.leave_group(group);
        left.map_err(|error| net_error::listen(&error))?;
        binding.groups.retain(|joined| *joined != group);
        Ok(())
    }

    /// The group, if the app may join and leave groups.
    fn permitted_group(&self, address: &str) -> Result<IpAddr, Error> {
        let permissions = self.socket.app_shard().app_context.permissions();
        if !permissions.may_join_multicast_groups() {
            return Err(Error::UdpPermissionDenied);
        }
        address
            .parse()
            .map_err(|_| NetError::ADDRESS_INVALID.into())
    }

    pub(in crate::udp) fn joined_groups(&self) -> Vec<IpAddr> {
        let binding = self.binding.as_ref();
        binding.map_or_else(Vec::new, |binding| binding.groups.clone())
    }

    pub(in crate::udp) fn set_time_to_live(&mut self, ttl: i32) -> Result<(), Error> {
        self.check_unbound()?;
        let ttl = u8::try_from(ttl).map_err(|_| InvalidArgument::TimeToLiveOutOfRange)?;
        self.options.time_to_live = Some(ttl);
        Ok(())
    }

    pub(in crate::udp) fn set_loopback(&mut self, enabled: bool) -> Result<(), Error> {
        self.check_unbound()?;
        self.options.loopback = Some(enabled);
        Ok(())
    }

    fn check_unbound(&self) -> Result<(), NetError> {
        match self.binding {
            Some(_) => Err(NetError::SOCKET_IS_CONNECTED),
            None => Ok(()),
        }
    }

    pub(in crate::udp) fn set_broadcast(&self, enabled: bool) -> Result<(), Error> {
        let binding = self.binding.as_ref();
        let binding = binding.ok_or(NetError::SOCKET_NOT_CONNECTED)?;
        let set = binding.datagrams.set_broadcast(enabled);
        set.map_err(|error| net_error::option(&error).into())
    }
}
