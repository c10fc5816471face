from tests.notices.test_confirmations import *
def test_real(runtime, tmp_path):
    o = Office(runtime, tmp_path/"own")
    import shutil; shutil.rmtree(tmp_path/"own")
    with relay_running(ScriptedRelay()) as relay:
        o.runtime = with_relay(runtime, relay.port)
        with runtime.database.write() as db: db.execute(update(Event).values(place="Medicinerhuset"))
        for n in ("anna","bo"): o.add(n)
        o.sign_up("anna","bo"); ids = launch_confirmations(o.runtime.launch_tools, o.runtime.database, now=NOW)
        o.give_back("anna"); ids += launch_confirmations(o.runtime.launch_tools, o.runtime.database, now=NOW+MINUTE)
        with o.runtime.sending_tools() as tools:
            for i in ids: send_batches(tools, campaign_id=i)
    assert len(relay.accepted) == 4
    for to, data in relay.accepted:
        m = [l for l in data.decode("utf-8","replace").splitlines() if l.startswith(("Subject","Content-Type","Auto-"))]
        print(to, m)
    assert 0
