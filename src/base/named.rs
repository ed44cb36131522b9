// SPDX-License-Identifier: Apache-2.0
//! Enumerations whose values have a name for people: one list says both.

/// An enumeration with a `name`: what stands behind each value.
macro_rules! named {
    ($(#[$meta:meta])* pub enum $enum:ident { $($(#[$doc:meta])* $value:ident = $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        pub enum $enum {
            $($(#[$doc])* #[doc = $name] $value),+
        }

        impl $enum {
            /// As it is printed.
            pub fn name(self) -> &'static str {
                match self {
                    $($enum::$value => $name),+
                }
            }
        }
    };
}

pub(crate) use named;
