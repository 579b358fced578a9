/** A user's devices. */
import type { User } from "../user.ts";
import type { Walk } from "../walk.ts";

export async function devices(walk: Walk): Promise<void> {
  const eve = await walk.register("eve");
  const [device, unknown] = [{ deviceId: eve.deviceId }, { deviceId: "UNKNOWN" }];
  const one = "/v3/devices/{deviceId}";
  await eve.good("GET /v3/devices");
  await eve.good(`PUT ${one}`, device, { display_name: "Phone" });
  await eve.good(`GET ${one}`, device);
  await eve.bad(404, "M_NOT_FOUND", `GET ${one}`, unknown);
  await eve.bad(404, "M_NOT_FOUND", `PUT ${one}`, unknown, { display_name: "Nobody's" });
  await removal(eve, "DELETE /v3/devices/{deviceId}", unknown, {});
  await removal(eve, "POST /v3/delete_devices", {}, { devices: ["UNKNOWN"] });
}

/** Who deletes a device must prove who they are. */
async function removal(eve: User, route: string, parameters: { deviceId?: string }, body: object): Promise<void> {
  const { session } = await eve.bad(401, undefined, route, parameters, body);
  await eve.good(route, parameters, { ...body, auth: eve.auth(session) });
}
