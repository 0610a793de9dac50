use super::watch::EVENTS_MAX;
use super::*;

fn perms(texts: &[&str]) -> Vec<StorePermission> {
    texts.iter().map(|t| crate::xenstore::wire::permission(t).unwrap()).collect()
}

fn shown(tree: &mut Tree, path: &str) -> Vec<String> {
    let list = tree.permissions(Caller::WORLD, path).unwrap();
    list.into_iter().map(crate::xenstore::wire::permission_text).collect()
}

fn paths(tree: &mut Tree, connection: u32) -> Vec<String> {
    tree.events(connection).into_iter().map(|e| e.path).collect()
}

#[test]
fn writing_makes_what_is_above_and_takes_its_permissions() {
    let mut tree = Tree::new();
    tree.mkdir(Caller::WORLD, "/local/domain/5").unwrap();
    tree.set_permissions(Caller::WORLD, "/local/domain/5", &perms(&["n5", "r7"])).unwrap();
    tree.set("/local/domain/5/data/a", b"1").unwrap();
    assert_eq!(shown(&mut tree, "/local/domain/5/data"), ["n5", "r7"]);
    assert_eq!(shown(&mut tree, "/local"), ["n0"]);
    // A guest owns what it makes, and what is above is made as its own, too.
    tree.set_permissions(Caller::WORLD, "/local/domain/5/data", &perms(&["n0", "b6"])).unwrap();
    let guest = Caller::of(tree.connect(6));
    tree.write(guest, "/local/domain/5/data/b/c", b"2").unwrap();
    assert_eq!(shown(&mut tree, "/local/domain/5/data/b"), ["n6", "b6"]);
    assert_eq!(tree.directory(Caller::WORLD, "/local/domain/5/data"), Ok(vec!["a".into(), "b".into()]));
    assert_eq!(tree.get("/local/domain/5/data/b"), Some(b"".as_slice()));
    // Writing once more changes the value and nothing else.
    tree.set("/local/domain/5/data/b/c", b"3").unwrap();
    assert_eq!(shown(&mut tree, "/local/domain/5/data/b/c"), ["n6", "b6"]);
}

#[test]
fn mkdir_leaves_alone_what_exists() {
    let mut tree = Tree::new();
    tree.set("/a", b"x").unwrap();
    let me = tree.connect(0);
    tree.watch(me, "/", "t").unwrap();
    tree.events(me);
    tree.mkdir(Caller::WORLD, "/a").unwrap();
    assert_eq!(tree.get("/a"), Some(b"x".as_slice()));
    assert_eq!(paths(&mut tree, me), [""; 0], "nothing happened");
}

#[test]
fn removing() {
    let mut tree = Tree::new();
    tree.set("/a/b/c", b"").unwrap();
    let rm = |tree: &mut Tree, path: &str| tree.rm(Caller::WORLD, path);
    assert_eq!(rm(&mut tree, "/"), Err(Errno::EINVAL));
    assert_eq!(rm(&mut tree, "/a/x"), Ok(()), "the parent exists");
    assert_eq!(rm(&mut tree, "/a/x/y"), Err(Errno::ENOENT), "the parent does not");
    assert_eq!(rm(&mut tree, "/a"), Ok(()));
    assert_eq!(tree.nodes().into_keys().map(String::from).collect::<Vec<_>>(), ["/"]);
    assert_eq!(tree.directory(Caller::WORLD, "/"), Ok(vec![]));
    // A name that begins alike is not below.
    tree.set("/ab/c", b"").unwrap();
    tree.set("/a/c", b"").unwrap();
    assert_eq!(rm(&mut tree, "/a"), Ok(()));
    assert!(tree.get("/ab/c").is_some());
}

/// Owner, letter of everyone, letter of the guest in an entry of its own; what the guest may do.
#[test]
fn the_permission_matrix() {
    let mut cases = 0;
    for owner in [0_u16, 5, 6] {
        for all in ["n", "r", "w", "b"] {
            for mine in ["", "n", "r", "w", "b"] {
                for caller in [0_u16, 5] {
                    let mut tree = Tree::new();
                    tree.set("/x/child", b"v").unwrap();
                    let mut list = vec![format!("{all}{owner}")];
                    if !mine.is_empty() {
                        list.push(format!("{mine}5"));
                    }
                    let list: Vec<&str> = list.iter().map(String::as_str).collect();
                    tree.set_permissions(Caller::WORLD, "/x", &perms(&list)).unwrap();
                    let me = Caller::of(tree.connect(caller));
                    let owns = caller == 0 || caller == owner;
                    let letter = if mine.is_empty() { all } else { mine };
                    let may_read = owns || matches!(letter, "r" | "b");
                    let may_write = owns || matches!(letter, "w" | "b");
                    let expect = |ok: bool| if ok { Ok(()) } else { Err(Errno::EACCES) };
                    let case = format!("{list:?} for {caller}");
                    assert_eq!(tree.read(me, "/x").map(|_| ()), expect(may_read), "read {case}");
                    assert_eq!(tree.directory(me, "/x").map(|_| ()), expect(may_read), "list {case}");
                    assert_eq!(tree.permissions(me, "/x").map(|_| ()), expect(may_read), "permissions {case}");
                    assert_eq!(tree.write(me, "/x", b"w"), expect(may_write), "write {case}");
                    assert_eq!(tree.write(me, "/x/new", b"w"), expect(may_write), "make {case}");
                    let again = perms(&list);
                    assert_eq!(tree.set_permissions(me, "/x", &again), expect(owns), "permit {case}");
                    // Who may not write is not told whether a node exists.
                    let missing = tree.rm(me, "/x/missing");
                    assert_eq!(missing, expect(may_write), "remove a missing one {case}");
                    let missing = tree.read(me, "/x/missing");
                    let told = if may_read { Errno::ENOENT } else { Errno::EACCES };
                    assert_eq!(missing, Err(told), "read a missing one {case}");
                    assert_eq!(tree.rm(me, "/x"), expect(may_write), "remove {case}");
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 120);
}

#[test]
fn only_dom0_gives_a_node_away() {
    let mut tree = Tree::new();
    tree.set("/x", b"").unwrap();
    tree.set_permissions(Caller::WORLD, "/x", &perms(&["n5"])).unwrap();
    let guest = Caller::of(tree.connect(5));
    assert_eq!(tree.set_permissions(guest, "/x", &perms(&["n6"])), Err(Errno::EPERM));
    assert_eq!(tree.set_permissions(guest, "/x", &perms(&["r5", "b6"])), Ok(()));
    assert_eq!(tree.set_permissions(guest, "/x", &[]), Err(Errno::EINVAL));
    // A device model may what its guest may.
    let model = Caller::of(tree.connect(7));
    assert_eq!(tree.write(model, "/x", b"1"), Err(Errno::EACCES));
    for domid in [5, 7] {
        tree.introduce(Caller::WORLD, domid).unwrap();
    }
    tree.set_target(Caller::WORLD, 7, 5).unwrap();
    assert_eq!(tree.write(model, "/x", b"1"), Ok(()));
    tree.release(Caller::WORLD, 5).unwrap();
    assert_eq!(tree.write(model, "/x", b"1"), Err(Errno::EACCES));
    assert_eq!(tree.introduce(guest, 9), Err(Errno::EACCES));
    assert_eq!(tree.release(Caller::WORLD, 9), Err(Errno::ENOENT));
}

#[test]
fn a_transaction_is_all_or_nothing_and_sees_itself() {
    let mut tree = Tree::new();
    tree.set("/a", b"1").unwrap();
    let (me, other) = (tree.connect(0), Caller::of(tree.connect(0)));
    let t = Caller::of(me).within(tree.start(me).unwrap());
    tree.write(t, "/a", b"2").unwrap();
    tree.write(t, "/b/c", b"3").unwrap();
    assert_eq!(tree.read(t, "/a"), Ok(b"2".to_vec()));
    assert_eq!(tree.directory(t, "/"), Ok(vec!["a".into(), "b".into()]));
    assert_eq!(tree.read(other, "/a"), Ok(b"1".to_vec()), "nobody else sees it");
    assert_eq!(tree.read(other, "/b"), Err(Errno::ENOENT));
    assert_eq!(tree.end(t, true), Ok(()));
    assert_eq!(tree.read(other, "/b/c"), Ok(b"3".to_vec()));
    assert_eq!(tree.read(t, "/a"), Err(Errno::ENOENT), "it is over");
    assert_eq!(tree.end(t, true), Err(Errno::ENOENT));

    let t = Caller::of(me).within(tree.start(me).unwrap());
    tree.rm(t, "/b").unwrap();
    assert_eq!(tree.read(t, "/b/c"), Err(Errno::ENOENT));
    assert_eq!(tree.end(t, false), Ok(()));
    assert_eq!(tree.read(other, "/b/c"), Ok(b"3".to_vec()));
    // The transactions of others are not mine.
    let t = tree.start(me).unwrap();
    assert_eq!(tree.read(other.within(t), "/a"), Err(Errno::ENOENT));
}

#[test]
fn a_transaction_fails_when_others_touched_what_it_touched() {
    type Act = fn(&mut Tree, Caller) -> Result<(), Errno>;
    let mine: [(&str, Act); 6] = [
        ("reads it", |t, at| t.read(at, "/d/a").map(|_| ())),
        ("misses it", |t, at| t.read(at, "/d/new").map(|_| ()).or(Ok(()))),
        ("lists", |t, at| t.directory(at, "/d").map(|_| ())),
        ("writes it", |t, at| t.write(at, "/d/a", b"mine")),
        ("makes another", |t, at| t.mkdir(at, "/d/other")),
        ("looks elsewhere", |t, at| t.read(at, "/e").map(|_| ())),
    ];
    let theirs: [(&str, Act, [bool; 6]); 5] = [
        ("write it", |t, at| t.write(at, "/d/a", b"theirs"), [true, false, false, true, false, false]),
        ("write the same value", |t, at| t.write(at, "/d/a", b"v"), [true, false, false, true, false, false]),
        ("make", |t, at| t.mkdir(at, "/d/new"), [false, true, true, false, true, false]),
        ("remove it", |t, at| t.rm(at, "/d/a"), [true, true, true, true, true, false]),
        ("only look", |t, at| t.read(at, "/d/a").map(|_| ()), [false; 6]),
    ];
    for (what, act, conflicts) in theirs {
        for ((who, do_mine), conflict) in mine.into_iter().zip(conflicts) {
            let mut tree = Tree::new();
            tree.set("/d/a", b"v").unwrap();
            tree.set("/e", b"v").unwrap();
            let (me, other) = (tree.connect(0), Caller::of(tree.connect(0)));
            let t = Caller::of(me).within(tree.start(me).unwrap());
            do_mine(&mut tree, t).unwrap();
            act(&mut tree, other).unwrap();
            let before = tree.nodes();
            let expected = if conflict { Err(Errno::EAGAIN) } else { Ok(()) };
            assert_eq!(tree.end(t, true), expected, "one {who}, others {what}");
            if conflict {
                assert_eq!(tree.nodes(), before, "nothing of it is in force");
            }
        }
    }
}

#[test]
fn watches_tell_of_the_node_what_is_below_and_what_is_removed_with_it() {
    let mut tree = Tree::new();
    tree.set("/local/domain/0/a/b", b"").unwrap();
    let me = tree.connect(0);
    tree.watch(me, "/local/domain/0/a", "abs").unwrap();
    tree.watch(me, "a/b", "rel").unwrap();
    assert_eq!(tree.watch(me, "a/b", "rel"), Err(Errno::EEXIST));
    let event = |path: &str, token: &str| Event { path: path.into(), token: token.into() };
    assert_eq!(tree.events(me), [event("/local/domain/0/a", "abs"), event("a/b", "rel")], "at once");
    tree.set("/local/domain/0/a/b", b"1").unwrap();
    assert_eq!(tree.events(me), [event("/local/domain/0/a/b", "abs"), event("a/b", "rel")]);
    tree.set("/local/domain/0/a/b/c/d", b"1").unwrap();
    assert_eq!(tree.events(me), [event("/local/domain/0/a/b/c/d", "abs"), event("a/b/c/d", "rel")]);
    tree.set("/local/domain/0/ab", b"1").unwrap();
    tree.set("/local/domain/0", b"1").unwrap();
    assert_eq!(tree.events(me), [], "beside and above");
    tree.read(Caller::WORLD, "/local/domain/0/a").unwrap();
    tree.set_permissions(Caller::WORLD, "/local/domain/0/a/b", &perms(&["n0", "r5"])).unwrap();
    assert_eq!(tree.events(me).len(), 2);
    // Who watches a node is told when it goes with a node above; who watches the one above is told of that one only.
    tree.rm(Caller::WORLD, "/local").unwrap();
    assert_eq!(tree.events(me), [event("a/b", "rel"), event("/local/domain/0/a", "abs")]);
    assert_eq!(tree.unwatch(me, "a/b", "other"), Err(Errno::ENOENT));
    tree.unwatch(me, "a/b", "rel").unwrap();
    tree.set("/local/domain/0/a/b", b"1").unwrap();
    assert_eq!(tree.events(me), [event("/local/domain/0/a/b", "abs")]);
    tree.reset(me);
    tree.set("/local/domain/0/a/b", b"1").unwrap();
    assert_eq!(tree.events(me), []);
}

#[test]
fn watches_of_a_transaction_fire_when_it_is_in_force() {
    let mut tree = Tree::new();
    let me = tree.connect(0);
    tree.watch(me, "/", "t").unwrap();
    tree.events(me);
    for (in_force, told) in [(false, 0), (true, 2)] {
        let t = Caller::of(me).within(tree.start(me).unwrap());
        tree.write(t, "/a", b"1").unwrap();
        tree.write(t, "/b", b"1").unwrap();
        tree.write(t, "/a", b"2").unwrap();
        assert_eq!(tree.events(me), []);
        tree.end(t, in_force).unwrap();
        let events = paths(&mut tree, me);
        assert_eq!(events.len(), told, "{events:?}");
    }
}

#[test]
fn who_may_not_read_is_not_told() {
    let mut tree = Tree::new();
    tree.set("/secret/a", b"").unwrap();
    tree.set("/open/a", b"").unwrap();
    for path in ["/open", "/open/a"] {
        tree.set_permissions(Caller::WORLD, path, &perms(&["r0"])).unwrap();
    }
    let guest = tree.connect(5);
    tree.watch(guest, "/", "t").unwrap();
    tree.watch(guest, "@introduceDomain", "t").unwrap();
    tree.events(guest);
    tree.set("/secret/a", b"1").unwrap();
    tree.introduce(Caller::WORLD, 9).unwrap();
    assert_eq!(paths(&mut tree, guest), [""; 0]);
    tree.set("/open/a", b"1").unwrap();
    assert_eq!(paths(&mut tree, guest), ["/open/a"]);
    // A right that is taken away is told of, once.
    tree.set_permissions(Caller::WORLD, "/open", &perms(&["n0"])).unwrap();
    assert_eq!(paths(&mut tree, guest), ["/open"]);
    tree.set_permissions(Caller::WORLD, "/open", &perms(&["n0"])).unwrap();
    assert_eq!(paths(&mut tree, guest), [""; 0]);
}

#[test]
fn domains_come_and_go() {
    let mut tree = Tree::new();
    let me = tree.connect(0);
    tree.watch(me, "@introduceDomain", "in").unwrap();
    tree.watch(me, "@releaseDomain", "out").unwrap();
    assert_eq!(paths(&mut tree, me), ["@introduceDomain", "@releaseDomain"]);
    tree.introduce(Caller::WORLD, 5).unwrap();
    tree.introduce(Caller::WORLD, 5).unwrap();
    assert_eq!(paths(&mut tree, me), ["@introduceDomain"], "once");
    assert!(tree.is_introduced(5) && tree.is_introduced(0) && !tree.is_introduced(6));
    tree.release(Caller::WORLD, 5).unwrap();
    assert_eq!(paths(&mut tree, me), ["@releaseDomain"]);
    assert_eq!(tree.introduce(Caller::WORLD, 0), Err(Errno::EINVAL));
}

#[test]
fn quotas_bind_guests_and_not_dom0() {
    let quota =
        Quota { nodes: Some(3), watches: Some(1), transactions: Some(1), node_size: Some(100), permissions: Some(2) };
    let mut tree = Tree::with_quota(quota);
    tree.set("/d", b"").unwrap();
    tree.set_permissions(Caller::WORLD, "/d", &perms(&["b0"])).unwrap();
    let number = tree.connect(5);
    let guest = Caller::of(number);
    tree.write(guest, "/d/a/b", b"").unwrap();
    assert_eq!(tree.write(guest, "/d/c/d", b""), Err(Errno::ENOSPC));
    assert_eq!(tree.get("/d/c"), None, "nothing is left of it");
    // A transaction counts what it makes and what it removes.
    let t = guest.within(tree.start(number).unwrap());
    tree.rm(t, "/d/a").unwrap();
    tree.write(t, "/d/x/y/z", b"").unwrap();
    assert_eq!(tree.mkdir(t, "/d/w"), Err(Errno::ENOSPC));
    tree.end(t, true).unwrap();
    assert_eq!(tree.write(guest, "/d/x", &[b'v'; 100]), Err(Errno::ENOSPC));
    assert_eq!(tree.write(guest, "/d/x", &[b'v'; 60]), Ok(()));
    assert_eq!(tree.set_permissions(guest, "/d/x", &perms(&["n5", "r1", "r2"])), Err(Errno::ENOSPC));
    for _ in 0..2 {
        tree.start(number).unwrap();
    }
    assert_eq!(tree.start(number), Err(Errno::ENOSPC));
    for token in ["1", "2"] {
        tree.watch(number, "/d", token).unwrap();
    }
    assert_eq!(tree.watch(number, "/d", "3"), Err(Errno::E2BIG));
    for number in 0..20 {
        tree.set(&format!("/e/{number}"), &[0; 200]).unwrap();
    }
}

#[test]
fn paths_are_checked_and_have_their_length() {
    let mut tree = Tree::new();
    let me = Caller::of(tree.connect(3));
    for bad in ["", "/a/", "/a//b", "/a b", "a/", "@introduceDomain", "/\u{e9}"] {
        assert_eq!(tree.read(Caller::WORLD, bad), Err(Errno::EINVAL), "{bad:?}");
    }
    let long = "a".repeat(2048);
    assert_eq!(tree.read(Caller::WORLD, &long), Err(Errno::ENOENT), "counted from the home of the domain");
    assert_eq!(tree.read(Caller::WORLD, &format!("{long}a")), Err(Errno::EINVAL));
    assert_eq!(tree.read(Caller::WORLD, &format!("/{}", &long[1..])), Err(Errno::ENOENT));
    assert_eq!(tree.read(Caller::WORLD, &format!("/{long}")), Err(Errno::EINVAL));
    assert_eq!(tree.home(me.connection), "/local/domain/3");
    assert_eq!(tree.read(Caller::of(999), "/"), Err(Errno::EINVAL), "nobody");
}

#[test]
fn a_deep_tree_is_made_and_removed_without_recursion() {
    let mut tree = Tree::new();
    let deep = "/a".repeat(1000);
    tree.set(&deep, b"x").unwrap();
    assert_eq!(tree.nodes().len(), 1001);
    tree.rm(Caller::WORLD, "/a").unwrap();
    assert_eq!(tree.nodes().len(), 1);
}

#[test]
fn events_that_nobody_fetches_do_not_pile_up_for_ever() {
    let mut tree = Tree::new();
    let me = tree.connect(0);
    tree.watch(me, "/", "t").unwrap();
    // The same one again and again waits once.
    for _ in 0..1000 {
        tree.set("/a", b"").unwrap();
    }
    assert_eq!(paths(&mut tree, me), ["/", "/a"]);
    for n in 0..=EVENTS_MAX {
        tree.set(&format!("/{}/{n}", n % 100), b"").unwrap();
    }
    assert!(tree.flooded(me));
    assert_eq!(tree.events(me).len(), EVENTS_MAX);
    tree.disconnect(me);
    assert!(!tree.flooded(me));
}
