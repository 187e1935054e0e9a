from datetime import timedelta, datetime, timezone
from pathlib import Path
from integration.test_role_alone import orchard, backed_up, stranger, APPLES, PEARS
from integration.test_object_lock import Shelf
from support.procedures import whole, new_bucket, Protected
from ansible_collections.runbook.ops.plugins.module_utils._store.declared import store_of
from ansible_collections.runbook.ops.plugins.module_utils._records import utc_now
def test_typo(stranger):
    b = stranger.ids(PEARS)
    run = stranger.play("backup_prune", backup_prune_skip=["sqlite/pear"])
    print("TYPO", run.summary(), stranger.ids(PEARS)==b)
def test_default_retention(s3, tmp_path):
    store = store_of("stores[0]", new_bucket(s3, lock=True))
    c=store.bucket.client
    c.put_object_lock_configuration(Bucket=store.bucket.name, ObjectLockConfiguration={"ObjectLockEnabled":"Enabled","Rule":{"DefaultRetention":{"Mode":"GOVERNANCE","Days":1}}})
    protected = Protected({"engine": "sqlite", "name": "sme"}, str(tmp_path))
    a,b,c_=(protected.forged(store, timedelta(days=d)) for d in range(3))
    shelf=Shelf(store,protected,a,b,c_)
    print("START", shelf.leases(), len(shelf.versions(leases=True)))
    for n in range(2):
        p=shelf.prune()
        print("RUN", n, len(p.errors), p.freed, len(shelf.leases()), len(shelf.versions(leases=True)), len(whole(shelf.protected, shelf.store)))
    # retention of everything but the leases ends
    import botocore
    for (k,v) in shelf.versions():
        c.put_object_retention(Bucket=store.bucket.name, Key=k, VersionId=v, Retention={}, BypassGovernanceRetention=True) if False else None
