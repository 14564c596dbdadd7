//! What the user domain refuses.

use std::time::Duration;

use hanse_runtime::PoolError;
use hanse_user::{
    AccountError, AuthenticateError, BackupError, BadKeys, ChangePasswordError, CreateAliasError,
    CreateFilterError, DehydratedDeviceError, DeviceError, PasswordRefused, ProfileError,
    PutAccountDataError, RefreshError, RegisterError, RegistrationTokenError, RemoveAliasError,
    SendToDeviceError, StartSessionError, UiaError, Unavailable, UploadCrossSigningError,
    UploadKeysError, VerifyError,
};
use http::StatusCode;
use ruma::api::error::{ErrorKind, WrongRoomKeysVersionErrorData};

use super::ApiError;

/// How long a client waits before it asks again for what takes processor time.
const BUSY: Duration = Duration::from_secs(2);

/// A bound of one account that only its user can make room under.
const FULL: Duration = Duration::from_hours(1);

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::Store(error) => error.into(),
            Unavailable::Append(error) => error.into(),
            Unavailable::Pool(PoolError::Full { .. }) => {
                Self::limit_exceeded(BUSY, "too many passwords are being checked")
            }
            Unavailable::Pool(PoolError::Closed { .. }) => {
                Self::unavailable("the server is ending")
            }
            other => Self::internal(&other),
        }
    }
}

impl From<AuthenticateError> for ApiError {
    fn from(error: AuthenticateError) -> Self {
        let message = error.to_string();
        match error {
            AuthenticateError::Unknown => Self::unknown_token(false, message),
            AuthenticateError::Expired => Self::unknown_token(true, message),
            AuthenticateError::Unavailable(error) => error.into(),
        }
    }
}

impl From<RefreshError> for ApiError {
    fn from(error: RefreshError) -> Self {
        let message = error.to_string();
        match error {
            RefreshError::Unknown => Self::unknown_token(false, message),
            RefreshError::Unavailable(error) => error.into(),
        }
    }
}

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        let message = error.to_string();
        match error {
            VerifyError::Refused => Self::forbidden(message),
            VerifyError::Deactivated => deactivated(message),
            VerifyError::Unavailable(error) => error.into(),
        }
    }
}

impl From<StartSessionError> for ApiError {
    fn from(error: StartSessionError) -> Self {
        let message = error.to_string();
        match error {
            StartSessionError::Refused => Self::forbidden(message),
            StartSessionError::Deactivated => deactivated(message),
            StartSessionError::DeviceId
            | StartSessionError::DisplayName
            | StartSessionError::Dehydrated => Self::invalid_param(message),
            StartSessionError::TooManyDevices => Self::limit_exceeded(FULL, message),
            StartSessionError::Unavailable(error) => error.into(),
        }
    }
}

impl From<PasswordRefused> for ApiError {
    fn from(error: PasswordRefused) -> Self {
        let message = error.to_string();
        let kind = match error {
            PasswordRefused::TooShort { .. } => ErrorKind::WeakPassword,
            PasswordRefused::TooLong { .. } => ErrorKind::InvalidParam,
        };
        Self::bad_request(kind, message)
    }
}

impl From<RegisterError> for ApiError {
    fn from(error: RegisterError) -> Self {
        let message = error.to_string();
        match error {
            RegisterError::Localpart(_) => Self::bad_request(ErrorKind::InvalidUsername, message),
            RegisterError::Taken => Self::bad_request(ErrorKind::UserInUse, message),
            RegisterError::Password(error) => error.into(),
            RegisterError::Token(error) => error.into(),
            RegisterError::Unavailable(error) => error.into(),
        }
    }
}

impl From<RegistrationTokenError> for ApiError {
    fn from(error: RegistrationTokenError) -> Self {
        let message = error.to_string();
        match error {
            RegistrationTokenError::Refused => {
                Self::new(StatusCode::UNAUTHORIZED, ErrorKind::Unauthorized, message)
            }
            RegistrationTokenError::Grammar | RegistrationTokenError::Taken => {
                Self::invalid_param(message)
            }
            RegistrationTokenError::TooMany => Self::limit_exceeded(FULL, message),
            RegistrationTokenError::Unavailable(error) => error.into(),
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        let message = error.to_string();
        match error {
            AccountError::Unknown => Self::not_found(message),
            AccountError::Unavailable(error) => error.into(),
        }
    }
}

impl From<ChangePasswordError> for ApiError {
    fn from(error: ChangePasswordError) -> Self {
        let message = error.to_string();
        match error {
            ChangePasswordError::Password(error) => error.into(),
            ChangePasswordError::Unknown => Self::not_found(message),
            ChangePasswordError::Unavailable(error) => error.into(),
        }
    }
}

impl From<DeviceError> for ApiError {
    fn from(error: DeviceError) -> Self {
        let message = error.to_string();
        match error {
            DeviceError::Unknown => Self::not_found(message),
            DeviceError::DisplayName => Self::invalid_param(message),
            DeviceError::Unavailable(error) => error.into(),
        }
    }
}

impl From<ProfileError> for ApiError {
    fn from(error: ProfileError) -> Self {
        let message = error.to_string();
        match error {
            ProfileError::Unknown => Self::not_found(message),
            ProfileError::Key => Self::bad_request(ErrorKind::KeyTooLarge, message),
            ProfileError::Value { .. } => Self::too_large(message),
            ProfileError::Profile { .. } => Self::bad_request(ErrorKind::ProfileTooLarge, message),
            ProfileError::Unavailable(error) => error.into(),
        }
    }
}

impl From<PutAccountDataError> for ApiError {
    fn from(error: PutAccountDataError) -> Self {
        let message = error.to_string();
        match error {
            PutAccountDataError::NotAnObject => Self::bad_request(ErrorKind::BadJson, message),
            PutAccountDataError::Type => Self::invalid_param(message),
            PutAccountDataError::TooLarge { .. } => Self::too_large(message),
            PutAccountDataError::TooMany => Self::limit_exceeded(FULL, message),
            PutAccountDataError::Changed => Self::limit_exceeded(BUSY, message),
            PutAccountDataError::Unknown => Self::not_found(message),
            PutAccountDataError::Unavailable(error) => error.into(),
        }
    }
}

impl From<CreateFilterError> for ApiError {
    fn from(error: CreateFilterError) -> Self {
        let message = error.to_string();
        match error {
            CreateFilterError::TooLarge { .. } => Self::too_large(message),
            CreateFilterError::TooMany => Self::limit_exceeded(FULL, message),
            CreateFilterError::Unknown => Self::not_found(message),
            CreateFilterError::Unavailable(error) => error.into(),
        }
    }
}

impl From<CreateAliasError> for ApiError {
    fn from(error: CreateAliasError) -> Self {
        let message = error.to_string();
        match error {
            CreateAliasError::Foreign => Self::invalid_param(message),
            CreateAliasError::Taken => Self::new(StatusCode::CONFLICT, ErrorKind::Unknown, message),
            CreateAliasError::Unavailable(error) => error.into(),
        }
    }
}

impl From<RemoveAliasError> for ApiError {
    fn from(error: RemoveAliasError) -> Self {
        let message = error.to_string();
        match error {
            RemoveAliasError::Unknown => Self::not_found(message),
            RemoveAliasError::Unavailable(error) => error.into(),
        }
    }
}

impl From<BadKeys> for ApiError {
    fn from(error: BadKeys) -> Self {
        let message = error.to_string();
        match error {
            BadKeys::Malformed { .. } => Self::bad_request(ErrorKind::BadJson, message),
            BadKeys::NotYours | BadKeys::Invalid { .. } | BadKeys::TooMany { .. } => {
                Self::invalid_param(message)
            }
            BadKeys::TooLarge { .. } => Self::too_large(message),
        }
    }
}

impl From<UploadKeysError> for ApiError {
    fn from(error: UploadKeysError) -> Self {
        let message = error.to_string();
        match error {
            UploadKeysError::Bad(error) => error.into(),
            UploadKeysError::Conflict { .. } => Self::invalid_param(message),
            UploadKeysError::TooMany => Self::limit_exceeded(FULL, message),
            UploadKeysError::UnknownDevice => Self::unknown_token(false, message),
            UploadKeysError::Unavailable(error) => error.into(),
        }
    }
}

impl From<DehydratedDeviceError> for ApiError {
    fn from(error: DehydratedDeviceError) -> Self {
        let message = error.to_string();
        match error {
            DehydratedDeviceError::Unknown => Self::not_found(message),
            DehydratedDeviceError::TooLarge => Self::too_large(message),
            DehydratedDeviceError::Taken => Self::invalid_param(message),
            DehydratedDeviceError::Device(error) => error.into(),
            DehydratedDeviceError::Keys(error) => error.into(),
            DehydratedDeviceError::Unavailable(error) => error.into(),
        }
    }
}

impl From<BackupError> for ApiError {
    fn from(error: BackupError) -> Self {
        let message = error.to_string();
        match error {
            BackupError::UnknownVersion => Self::not_found(message),
            BackupError::WrongVersion { current } => {
                let data = WrongRoomKeysVersionErrorData::new(current.to_string());
                let kind = ErrorKind::WrongRoomKeysVersion(data);
                Self::new(StatusCode::FORBIDDEN, kind, message)
            }
            BackupError::OtherAlgorithm => Self::invalid_param(message),
            BackupError::Malformed { .. } => Self::bad_request(ErrorKind::BadJson, message),
            BackupError::TooLarge { .. } | BackupError::TooMany { .. } => Self::too_large(message),
            BackupError::Unavailable(error) => error.into(),
        }
    }
}

impl From<UploadCrossSigningError> for ApiError {
    fn from(error: UploadCrossSigningError) -> Self {
        let message = error.to_string();
        match error {
            UploadCrossSigningError::Bad(error) => error.into(),
            UploadCrossSigningError::Unauthenticated => Self::forbidden(message),
            UploadCrossSigningError::NoMasterKey => {
                Self::bad_request(ErrorKind::MissingParam, message)
            }
            UploadCrossSigningError::Signature { .. } => Self::invalid_signature(message),
            UploadCrossSigningError::NameTaken { .. } => Self::invalid_param(message),
            UploadCrossSigningError::Unavailable(error) => error.into(),
        }
    }
}

impl From<SendToDeviceError> for ApiError {
    fn from(error: SendToDeviceError) -> Self {
        let message = error.to_string();
        match error {
            SendToDeviceError::NotAnObject => Self::bad_request(ErrorKind::BadJson, message),
            SendToDeviceError::Id => Self::invalid_param(message),
            SendToDeviceError::TooLarge { .. } | SendToDeviceError::TooMany => {
                Self::too_large(message)
            }
            SendToDeviceError::Unavailable(error) => error.into(),
        }
    }
}

impl From<UiaError> for ApiError {
    fn from(error: UiaError) -> Self {
        let message = error.to_string();
        match error {
            UiaError::Unknown => Self::forbidden(message),
            UiaError::TooLarge { .. } => Self::too_large(message),
            UiaError::Stage => Self::invalid_param(message),
            UiaError::Unavailable(error) => error.into(),
        }
    }
}

fn deactivated(message: String) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, ErrorKind::UserDeactivated, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::tests::check_kind;

    #[test]
    fn refusals_have_the_specifications_codes() {
        check_kind(AuthenticateError::Unknown, 401, "M_UNKNOWN_TOKEN");
        check_kind(AuthenticateError::Expired, 401, "M_UNKNOWN_TOKEN");
        check_kind(RefreshError::Unknown, 401, "M_UNKNOWN_TOKEN");
        check_kind(VerifyError::Refused, 403, "M_FORBIDDEN");
        check_kind(VerifyError::Deactivated, 403, "M_USER_DEACTIVATED");
        check_kind(StartSessionError::Refused, 403, "M_FORBIDDEN");
        check_kind(StartSessionError::DeviceId, 400, "M_INVALID_PARAM");
        check_kind(StartSessionError::TooManyDevices, 429, "M_LIMIT_EXCEEDED");
        check_kind(RegisterError::Taken, 400, "M_USER_IN_USE");
        check_kind(RegistrationTokenError::Refused, 401, "M_UNAUTHORIZED");
        check_kind(AccountError::Unknown, 404, "M_NOT_FOUND");
        check_kind(DeviceError::Unknown, 404, "M_NOT_FOUND");
        check_kind(ProfileError::Key, 400, "M_KEY_TOO_LARGE");
        check_kind(
            ProfileError::Profile { bytes: 1 },
            400,
            "M_PROFILE_TOO_LARGE",
        );
        check_kind(PutAccountDataError::NotAnObject, 400, "M_BAD_JSON");
        check_kind(
            PutAccountDataError::TooLarge { bytes: 1 },
            413,
            "M_TOO_LARGE",
        );
        check_kind(CreateAliasError::Foreign, 400, "M_INVALID_PARAM");
        check_kind(CreateAliasError::Taken, 409, "M_UNKNOWN");
        check_kind(RemoveAliasError::Unknown, 404, "M_NOT_FOUND");
        check_kind(UiaError::Unknown, 403, "M_FORBIDDEN");
        let short = PasswordRefused::TooShort {
            chars: 1,
            chars_min: 8,
        };
        check_kind(short, 400, "M_WEAK_PASSWORD");
    }

    /// Sabotage: an expired token that is no soft logout costs clients their keys.
    #[test]
    fn only_an_expired_token_is_a_soft_logout() {
        let soft = |error: AuthenticateError| match error.into() {
            ApiError::Standard { kind, .. } => {
                matches!(*kind, ErrorKind::UnknownToken(data) if data.soft_logout)
            }
            ApiError::Uia(_) => false,
        };
        assert!(soft(AuthenticateError::Expired));
        assert!(!soft(AuthenticateError::Unknown));
    }

    #[test]
    fn what_is_busy_is_worth_a_retry() {
        let full = PoolError::Full {
            pool: "p",
            queue_len_max: 0,
        };
        check_kind(Unavailable::from(full), 429, "M_LIMIT_EXCEEDED");
        let closed = PoolError::Closed { pool: "p" };
        check_kind(Unavailable::from(closed), 503, "M_UNKNOWN");
        let panicked = PoolError::Panicked { pool: "p" };
        check_kind(Unavailable::from(panicked), 500, "M_UNKNOWN");
    }
}
