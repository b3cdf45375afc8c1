//! Errors of the SDK as sentences: by the service's error *code*, never by its message or the HTTP status, and with what helps.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use hyper_util::client::legacy;

use super::{CallError, CallFault};

/// The error of a call.
pub(super) fn call_error<E, R>(error: &SdkError<E, R>, action: &str, resource: &str) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    if let SdkError::ServiceError(refused) = error
        && let Some(code) = refused.err().code()
    {
        return item_error(code, refused.err().message(), action, resource);
    }
    let fault = match error {
        _ if chain(error).any(<dyn Error>::is::<CredentialsError>) => CallFault::Credentials,
        SdkError::ConstructionFailure(_) => CallFault::Refused,
        SdkError::DispatchFailure(failure) if failure.is_user() => CallFault::Refused,
        SdkError::DispatchFailure(_) if chain(error).any(no_connection) => CallFault::Unreachable,
        _ => CallFault::Unknown,
    };
    let what = match fault {
        // The SDK tells of every place where it looked, over many lines.
        CallFault::Credentials => "no credentials that can be used".to_owned(),
        _ => chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ").split_whitespace().collect::<Vec<_>>().join(" "),
    };
    sentence(fault, &what, None, action, resource)
}

/// The error that a call gives for one of many secrets, or that the service gave a code for.
pub(super) fn item_error(code: &str, message: Option<&str>, action: &str, resource: &str) -> CallError {
    sentence(of_code(code), code, message, action, resource)
}

/// An answer without what it must have.
pub(super) fn lacking(action: &str, resource: &str, what: &str) -> CallError {
    let sentence = format!("{action} of `{resource}` answered without {what}; hint: is the endpoint AWS Secrets Manager?");
    CallError { fault: CallFault::Unknown, sentence }
}

/// What a code means. All codes of the service's model, and those that every AWS service may give.
fn of_code(code: &str) -> CallFault {
    match code {
        "ResourceNotFoundException" => CallFault::NotFound,
        "ResourceExistsException" => CallFault::Exists,
        "InvalidParameterException" => CallFault::InvalidParameter,
        "InvalidRequestException" => CallFault::InvalidRequest,
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => CallFault::Denied,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "RequestExpired" => CallFault::Credentials,
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "BandwidthLimitExceeded"
        | "SlowDown" => CallFault::Throttled,
        "LimitExceededException" => CallFault::Quota,
        "EncryptionFailure" | "DecryptionFailure" => CallFault::Kms,
        "InternalServiceError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "RequestTimeout"
        | "RequestTimeoutException" => CallFault::Unknown,
        _ => CallFault::Refused,
    }
}

/// Every error behind an error, itself included.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source())
}

/// Whether this says that there was never a connection to send anything on.
fn no_connection(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
}

fn sentence(fault: CallFault, what: &str, message: Option<&str>, action: &str, resource: &str) -> CallError {
    let hint = match fault {
        CallFault::NotFound => "is it another region or account than before?".to_owned(),
        CallFault::Exists => "another writer was first".to_owned(),
        CallFault::InvalidParameter => "another writer was first, or another tool changes this secret".to_owned(),
        CallFault::InvalidRequest => format!("`aws secretsmanager describe-secret --secret-id {resource}` shows its state"),
        CallFault::Denied => format!("allow secretsmanager:{action} on it to keyrota's identity (docs/aws.md has the whole policy)"),
        CallFault::Credentials => {
            "give keyrota credentials that AWS knows: a role of the machine or pod, AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
                                   AWS_SECRET_ACCESS_KEY; `aws sts get-caller-identity` must work in the same environment"
                .to_owned()
        }
        CallFault::Throttled => "the account's rate for this call is used up by all its users together; it is tried again".to_owned(),
        CallFault::Quota => {
            "a quota of Secrets Manager is used up: see Service Quotas, or how many versions and labels the secret has".to_owned()
        }
        CallFault::Kms => "is the KMS key enabled, and may keyrota's identity use kms:GenerateDataKey and kms:Decrypt with it?".to_owned(),
        CallFault::Unreachable => {
            "check `store.region`, `store.endpoint_url` (or AWS_ENDPOINT_URL_SECRETS_MANAGER), DNS and proxy".to_owned()
        }
        CallFault::Unknown => "the service did not say how it ended; it is looked at again".to_owned(),
        CallFault::Refused => "is the region set, and the endpoint Secrets Manager's?".to_owned(),
    };
    // The service's messages never hold a value, but may be long.
    let message: String = message.map(|m| format!(": {m}")).unwrap_or_default().chars().take(300).collect();
    let what: String = what.chars().take(400).collect();
    CallError { fault, sentence: format!("{action} of `{resource}` failed with {what}{message}; hint: {hint}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_and_sentences_help() {
        for (code, fault, says) in [
            ("ResourceNotFoundException", CallFault::NotFound, "another region"),
            ("ResourceExistsException", CallFault::Exists, "first"),
            ("InvalidRequestException", CallFault::InvalidRequest, "describe-secret --secret-id keyrota/a"),
            ("AccessDeniedException", CallFault::Denied, "allow secretsmanager:PutSecretValue on it"),
            ("ExpiredTokenException", CallFault::Credentials, "get-caller-identity"),
            ("ThrottlingException", CallFault::Throttled, "rate"),
            ("LimitExceededException", CallFault::Quota, "Service Quotas"),
            ("EncryptionFailure", CallFault::Kms, "kms:GenerateDataKey"),
            ("InternalServiceError", CallFault::Unknown, "did not say"),
            ("SomethingNewException", CallFault::Refused, "endpoint"),
        ] {
            let error = item_error(code, Some("the service's words"), "PutSecretValue", "keyrota/a");
            assert_eq!(error.fault, fault, "{code}");
            let text = error.to_string();
            assert!(text.contains(code) && text.contains("`keyrota/a`") && text.contains("; hint: ") && text.contains(says), "{text}");
        }
    }
}
