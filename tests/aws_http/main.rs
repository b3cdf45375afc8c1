//! The store on AWS Secrets Manager through the real SDK, over HTTP, against emulators that others wrote. Started by
//! `tests/run --only aws`, which starts them too; run by its name only, so that nothing shows green that did not run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "not every rule is for every emulator")]
#[path = "../contract/mod.rs"]
mod contract;
mod errors;
mod fixture;
mod key_sets;

/// moto keeps all rules that the swap rests on.
mod moto {
    // Three thousand connections at once are more than its development server takes.
    crate::contract::store_contract!(@each crate::fixture::Emulated::new("KEYROTA_MOTO");
        an_empty_store_has_nothing, a_keyset_is_created_once, an_update_is_never_lost, of_nested_updates_one_wins,
        a_race_has_one_winner, a_race_to_create_has_one_winner, two_openings_race_for_one_place,
        a_generation_is_used_once, a_revision_is_used_once, another_environment_is_refused, unreadable_is_not_empty,
        one_bad_keyset_does_not_hide_the_others, what_is_loaded_is_what_is_in_force, changes_tell_of_every_write_once, changes_tell_of_removals,
        changes_tell_of_other_openings, a_foreign_mark_begins_anew, changes_miss_nothing_under_load);
}

/// ministack writes over a version when its token is used again with other bytes, so nothing can race on it.
mod ministack {
    crate::contract::store_contract!(@each crate::fixture::Emulated::new("KEYROTA_MINISTACK");
        an_empty_store_has_nothing, a_keyset_is_created_once, an_update_is_never_lost, of_nested_updates_one_wins,
        a_generation_is_used_once, another_environment_is_refused, unreadable_is_not_empty,
        one_bad_keyset_does_not_hide_the_others, what_is_loaded_is_what_is_in_force, changes_tell_of_every_write_once, changes_tell_of_removals,
        changes_tell_of_other_openings, a_foreign_mark_begins_anew);
}
