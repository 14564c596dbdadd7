//! The suite that every engine passes. (Follows with the first engine.)
