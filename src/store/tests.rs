//! The store's promises, each on a fresh database. They use the seam alone, so that they can run on a second engine.

use super::*;

struct Fixture {
    store: Store,
    folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("linkim.db"), "a.example").unwrap();
    Fixture { store, folder }
}

#[tokio::test]
async fn a_write_is_visible_once_answered() {
    let f = fixture();
    let before = f.store.position();
    let given = f
        .store
        .write::<_, StoreError, _>(|tx| {
            let position = tx.next_position();
            tx.execute("INSERT INTO servers (name) VALUES (?1)", params!["b.example"])?;
            Ok(position)
        })
        .await
        .unwrap();
    assert_eq!(given, before + 1);
    assert_eq!(f.store.position(), given);
    let (position, name) = f
        .store
        .read::<_, StoreError, _>(|snapshot| {
            let read: &dyn Read = snapshot;
            let name = read.one("SELECT name FROM servers", params![], |row| row.get::<String>(0))?;
            Ok((read.position(), name))
        })
        .await
        .unwrap();
    assert_eq!((position, name.as_deref()), (given, Some("b.example")));
}

#[tokio::test]
async fn a_failed_job_leaves_nothing_and_spares_its_neighbours() {
    let f = fixture();
    let called = Arc::new(AtomicI64::new(0));
    let hook = called.clone();
    let bad = f.store.write::<(), StoreError, _>(move |tx| {
        tx.execute("INSERT INTO servers (name) VALUES (?1)", params!["bad"])?;
        tx.after_commit(move || hook.store(1, Ordering::Release));
        Err(StoreError::Damaged("on purpose".into()))
    });
    let good = f.store.write::<(), StoreError, _>(|tx| {
        tx.execute("INSERT INTO servers (name) VALUES (?1)", params!["good"])?;
        Ok(())
    });
    let (bad, good) = tokio::join!(bad, good);
    assert!(matches!(bad, Err(StoreError::Damaged(_))));
    good.unwrap();
    let names = f
        .store
        .read::<_, StoreError, _>(|s| {
            (s as &dyn Read).all("SELECT name FROM servers", params![], |row| row.get::<String>(0))
        })
        .await
        .unwrap();
    assert_eq!(names, ["good"]);
    assert_eq!(called.load(Ordering::Acquire), 0, "the failed job's hook ran");
}

#[tokio::test]
async fn a_panic_fails_its_own_job_only() {
    let f = fixture();
    let bad = f.store.write::<(), StoreError, _>(|_| panic!("on purpose")).await;
    assert!(bad.is_err());
    f.store
        .write::<_, StoreError, _>(|tx| tx.execute("INSERT INTO servers (name) VALUES ('x')", params![]))
        .await
        .unwrap();
    let store = f.store.clone();
    let read = tokio::spawn(async move { store.read::<(), StoreError, _>(|_| panic!("on purpose")).await });
    assert!(read.await.is_err());
    for _ in 0..2 * readers_in_pool() {
        f.store.read::<_, StoreError, _>(|s| Ok(s.position())).await.unwrap();
    }
}

#[tokio::test]
async fn closing_keeps_what_was_accepted() {
    let f = fixture();
    for name in ["a", "b", "c"] {
        f.store
            .write::<_, StoreError, _>(move |tx| {
                tx.next_position();
                tx.execute("INSERT INTO servers (name) VALUES (?1)", params![name])
            })
            .await
            .unwrap();
    }
    let (position, incarnation) = (f.store.position(), f.store.incarnation());
    f.store.close();
    assert!(matches!(f.store.write::<_, StoreError, _>(|_| Ok(())).await, Err(StoreError::Stopping)));
    let again = Store::open(&f.folder.path().join("linkim.db"), "a.example").unwrap();
    assert_eq!(again.position(), position);
    assert_eq!(again.incarnation(), incarnation + 1);
}

#[tokio::test]
async fn another_name_is_refused() {
    let f = fixture();
    let error = Store::open(&f.folder.path().join("linkim.db"), "b.example").err().unwrap();
    assert!(matches!(error, StoreError::WrongServerName { .. }), "{error}");
}

#[tokio::test]
async fn numbers_of_strings_are_stable() {
    use ruma::user_id;
    let f = fixture();
    let made = f.store.write::<_, StoreError, _>(|tx| ids::intern_user(tx, user_id!("@a:x"))).await.unwrap();
    let again = f.store.write::<_, StoreError, _>(|tx| ids::intern_user(tx, user_id!("@a:x"))).await.unwrap();
    assert_eq!(made, again);
    let read = f
        .store
        .read::<_, StoreError, _>(move |s| Ok((ids::user_nid(s, user_id!("@a:x"))?, ids::user_id(s, made)?)))
        .await
        .unwrap();
    assert_eq!(read, (Some(made), user_id!("@a:x").to_owned()));
}
