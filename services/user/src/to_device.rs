//! Messages from device to device ([spec]): decided in the sender's slot, relayed to the recipients'
//! slots, where they wait until the device has acknowledged them.
//!
//! Invariant: a repeated transaction sends nothing again, wherever its first attempt stopped.
//! Invariant: a message is removed only when its device has acknowledged it, or is gone, or after a year.
//! Invariant: a bounded number waits for a device; what would be more is not sent.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#send-to-device-messaging

mod delivery;
mod inbox;
mod parts;
mod send;
mod waiting;

pub(crate) use self::{inbox::RemoveToDevice, send::SendToDevice, waiting::Waiting};
pub use self::{
    inbox::ToDevicePage,
    send::{DeviceMessage, SendToDeviceError, ToDeviceMessages},
};
