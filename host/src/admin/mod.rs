//! The admin connection, by which the page looks at all apps.

pub(crate) mod calls;
pub(crate) mod session;
