/** Accounts: what is said before there is one, making one, logging in, and how sessions and accounts end. */
import { PASSWORD, type User } from "../user.ts";
import type { Walk } from "../walk.ts";

export async function accounts(walk: Walk): Promise<void> {
  await discovery(walk.nobody);
  await registration(walk.nobody);
  await login(walk);
  const ada = await walk.register("ada", { refresh_token: true });
  await ada.good("GET /v3/account/whoami");
  await ada.good("GET /v3/capabilities");
  await endings(walk);
}

async function discovery(nobody: User): Promise<void> {
  for (const route of ["/_matrix/client/versions", "/.well-known/matrix/client", "/_matrix/client/v3/login"]) {
    await nobody.good(`GET ${route}`);
  }
  // Section "Common error codes": a path that is known, with another method.
  await nobody.wrongMethod("GET /_matrix/client/versions");
  await nobody.wrongMethod("GET /.well-known/matrix/client");
  await nobody.wrongMethod("GET /v3/login");
}

async function registration(nobody: User): Promise<void> {
  const route = "POST /v3/register";
  const account = { username: "zoe", password: PASSWORD };
  const challenge = await nobody.bad(401, undefined, route, {}, account);
  await nobody.good(route, {}, { ...account, auth: { type: "m.login.dummy", session: challenge.session } });
  await nobody.bad(400, "M_USER_IN_USE", route, {}, account);
  await nobody.bad(400, "M_INVALID_USERNAME", route, {}, { ...account, username: "zoe!" });
  await nobody.bad(403, "M_FORBIDDEN", route, { kind: "guest" }, {});
  const available = "GET /v3/register/available";
  await nobody.good(available, { username: "free" });
  await nobody.bad(400, "M_USER_IN_USE", available, { username: "zoe" });
  await nobody.bad(400, "M_INVALID_USERNAME", available, { username: "zoe!" });
  await nobody.bad(400, "M_MISSING_PARAM", available);
}

async function login(walk: Walk): Promise<void> {
  const { nobody } = walk;
  const route = "POST /v3/login";
  const account = { type: "m.login.password", identifier: { type: "m.id.user", user: "zoe" } };
  const session = await nobody.good(route, {}, { ...account, password: PASSWORD, refresh_token: true });
  await nobody.bad(403, "M_FORBIDDEN", route, {}, { ...account, password: "not hers" });
  await nobody.bad(400, "M_UNKNOWN", route, {}, { type: "org.example.fingerprint" });
  const refresh = "POST /v3/refresh";
  await nobody.good(refresh, {}, { refresh_token: session.refresh_token });
  await nobody.bad(401, "M_UNKNOWN_TOKEN", refresh, {}, { refresh_token: "unknown" });
}

/** What ends sessions, with an account of its own each. */
async function endings(walk: Walk): Promise<void> {
  const ben = await walk.register("ben");
  await ben.good("POST /v3/logout");
  await ben.bad(401, "M_UNKNOWN_TOKEN", "GET /v3/account/whoami");

  const cleo = await walk.register("cleo");
  const route = "POST /v3/account/password";
  const challenge = await cleo.bad(401, undefined, route, {}, { new_password: "another" });
  const wrong = { ...cleo.auth(challenge.session), password: "not hers" };
  await cleo.bad(401, "M_FORBIDDEN", route, {}, { new_password: "another", auth: wrong });
  await cleo.good(route, {}, { new_password: PASSWORD, auth: cleo.auth(challenge.session) });
  const deactivate = "POST /v3/account/deactivate";
  const asked = await cleo.bad(401, undefined, deactivate, {}, {});
  await cleo.good(deactivate, {}, { auth: cleo.auth(asked.session), erase: true });

  const dan = await walk.register("dan");
  await dan.good("POST /v3/logout/all");
  await dan.bad(401, "M_UNKNOWN_TOKEN", "GET /v3/account/whoami");
}
