//! What the user domain refuses.

use std::time::Duration;

use hanse_runtime::PoolError;
use hanse_user::{
    AccountError, AuthenticateError, ChangePasswordError, CreateAliasError, CreateFilterError,
    DeviceError, PasswordRefused, ProfileError, PutAccountDataError, RefreshError, RegisterError,
    RegistrationTokenError, RemoveAliasError, StartSessionError, UiaError, Unavailable,
    VerifyError,
};
use http::StatusCode;
use ruma::api::error::ErrorKind;

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
            StartSessionError::DeviceId | StartSessionError::DisplayName => {
                Self::invalid_param(message)
            }
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
