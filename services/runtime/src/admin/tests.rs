//! Both ends of the socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use ruma::UserId;
use tempfile::TempDir;

use super::*;
use crate::Tasks;

struct Users;

#[async_trait]
impl AdminCommands for Users {
    async fn create_user(&self, user: CreateUser) -> Result<UserCreated, AdminError> {
        if user.localpart == "taken" {
            return Err(AdminError::Refused {
                reason: "the name is taken".to_owned(),
            });
        }
        assert_eq!(user.password.expose(), "pass word");
        let user_id = UserId::parse(format!("@{}:localhost", user.localpart)).unwrap();
        Ok(UserCreated { user_id })
    }

    async fn first_account(&self) -> Result<FirstAccount, AdminError> {
        Ok(FirstAccount::Exists)
    }
}

fn serve(tasks: &Tasks) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("admin.sock");
    AdminSocket::bind(&path)
        .unwrap()
        .serve(tasks, Arc::new(Users));
    (dir, path)
}

async fn create(path: PathBuf, localpart: String) -> Result<Reply, CallError> {
    let password = Secret::new("pass word".to_owned());
    let request = Request::CreateUser(CreateUser {
        localpart,
        password,
        admin: false,
    });
    tokio::task::spawn_blocking(move || call(&path, &request))
        .await
        .unwrap()
}

#[tokio::test]
async fn commands_are_answered_and_refusals_are_told() {
    let tasks = Tasks::new();
    let (_dir, path) = serve(&tasks);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let made = create(path.clone(), "alice".to_owned()).await.unwrap();
    let user_id = UserId::parse("@alice:localhost").unwrap();
    assert_eq!(made, Reply::UserCreated(UserCreated { user_id }));

    let refused = create(path.clone(), "taken".to_owned()).await.unwrap();
    assert_eq!(refused, Reply::Error("the name is taken".to_owned()));
}

#[tokio::test]
async fn a_line_past_the_limit_is_refused() {
    let tasks = Tasks::new();
    let (_dir, path) = serve(&tasks);
    let long = "a".repeat(LINE_BYTES_MAX as usize);
    // The server may close while the rest of the line is still being written.
    if let Ok(reply) = create(path, long).await {
        let said = "a command is one line of at most 65536 bytes".to_owned();
        assert_eq!(reply, Reply::Error(said));
    }
}

#[tokio::test]
async fn the_socket_goes_with_the_server_and_a_dead_one_is_replaced() {
    let tasks = Tasks::new();
    let (dir, path) = serve(&tasks);
    tasks.finish().await;
    assert!(!path.exists());
    let error = create(path.clone(), "alice".to_owned()).await.unwrap_err();
    assert!(matches!(error, CallError::NoServer { .. }), "{error}");

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead process leaves its socket");
    AdminSocket::bind(&path).unwrap();
    drop(dir);
}

#[test]
fn secrets_are_not_shown() {
    let password = Secret::new("pass word".to_owned());
    let user = CreateUser {
        localpart: "a".to_owned(),
        password,
        admin: true,
    };
    assert!(!format!("{user:?}").contains("pass word"));
}
