//! A secured user token of Algolia Agent Studio: exactly `sub` and `exp`, in this order, as the vendor's own helper writes it.

use super::Shape;

pub(super) const SHAPE: Shape = Shape {
    typ: "JWT",
    typ_optional: false,
    required: &["sub"],
    write: |payload, told| {
        payload.text("sub", told.subject()?);
        payload.seconds("exp", told.expires_at);
        Ok(())
    },
};
