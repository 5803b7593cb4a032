"""What a member may not, and that somebody is always left who may."""

import asyncio

from tests.support.edge import Edge


async def test_a_member_manages_nobody(edge: Edge, uid: str) -> None:
    member = await edge.make_user(uid, role="member")
    other = await edge.make_user(f"other-{uid}", role="member")
    as_member = {"headers": {"Authorization": f"Bearer {await edge.sign_in(member['email'], 'secret')}"}}
    assert (await edge.post("/admin/invites", {"user": f"i-{uid}@example.com", "role": "member"})).status == 200
    invites = (await edge.get("/admin/invites")).body["invites"]
    (invite,) = [found for found in invites if found["user_email"] == f"i-{uid}@example.com"]
    before = (await edge.get("/admin/users", query={"q": uid})).body

    refused = [
        await edge.post("/admin/users", {"email": f"new-{uid}@example.com", "password": "secret"}, **as_member),
        await edge.post(f"/admin/users/{other['id']}", {"first_name": "Eve"}, **as_member),
        await edge.post(f"/admin/users/{member['id']}", {"role": "admin"}, **as_member),
        await edge.post(f"/admin/users/{member['id']}", {"api_token": f"token-{uid}-0123456789"}, **as_member),
        await edge.delete(f"/admin/users/{other['id']}", **as_member),
        await edge.get("/admin/invites", **as_member),  # their tokens open the door
        await edge.post("/admin/invites", {"user": f"j-{uid}@example.com", "role": "admin"}, **as_member),
        await edge.post(f"/admin/invites/{invite['id']}/resend", **as_member),
        await edge.delete(f"/admin/invites/{invite['id']}", **as_member),
        await edge.get("/admin/access-tokens", **as_member),
        await edge.post("/admin/access-tokens", {"name": uid, "scopes": ["write_order"]}, **as_member),
        await edge.delete("/admin/access-tokens/atok_x", **as_member),
    ]
    assert {answer.status for answer in refused} == {403}
    assert {answer.body["type"] for answer in refused} == {"not_allowed"}

    assert (await edge.get("/admin/users", query={"q": uid})).body == before
    assert (await edge.get("/admin/invites")).body["invites"] == invites
    assert (await edge.get("/admin/access-tokens", query={"q": uid})).body["access_tokens"] == []


async def test_a_member_sees_users_and_changes_his_own_name(edge: Edge, uid: str) -> None:
    member = await edge.make_user(uid, role="member")
    as_member = {"headers": {"Authorization": f"Bearer {await edge.sign_in(member['email'], 'secret')}"}}
    assert (await edge.get(f"/admin/users/{member['id']}", **as_member)).body["user"] == member
    changed = await edge.post(f"/admin/users/{member['id']}", {"first_name": "Ada"}, **as_member)
    assert (changed.status, changed.body["user"]["first_name"]) == (200, "Ada")


async def test_a_developer_manages(edge: Edge, uid: str) -> None:
    developer = await edge.make_user(uid, role="developer")
    as_developer = {"headers": {"Authorization": f"Bearer {await edge.sign_in(developer['email'], 'secret')}"}}
    made = await edge.post("/admin/users", {"email": f"new-{uid}@example.com", "password": "secret"}, **as_developer)
    assert made.status == 200
    assert (await edge.delete(f"/admin/users/{made.body['user']['id']}", **as_developer)).status == 200


async def test_a_role_that_changes_counts_at_once(edge: Edge, uid: str) -> None:
    user = await edge.make_user(uid, role="developer")
    as_user = {"headers": {"Authorization": f"Bearer {await edge.sign_in(user['email'], 'secret')}"}}
    assert (await edge.get("/admin/invites", **as_user)).status == 200
    assert (await edge.post(f"/admin/users/{user['id']}", {"role": "member"})).status == 200
    assert (await edge.get("/admin/invites", **as_user)).status == 403


async def test_the_last_manager_stays(new_edge: Edge) -> None:
    edge = new_edge
    (me,) = (await edge.get("/admin/users")).body["users"]
    for refused in (
        await edge.post(f"/admin/users/{me['id']}", {"role": "member"}),
        await edge.delete(f"/admin/users/{me['id']}"),
    ):
        assert (refused.status, refused.body["type"]) == (400, "not_allowed")
    assert (await edge.get("/admin/users")).body["users"] == [me]

    other = await edge.make_user("other", role="developer")
    answers = await asyncio.gather(
        edge.post(f"/admin/users/{me['id']}", {"role": "member"}), edge.delete(f"/admin/users/{other['id']}")
    )
    assert sorted(answer.status for answer in answers) == [200, 400]
