/** Files: uploaded, downloaded, made smaller; by today's routes and by those that need no token. */
import type { User } from "../user.ts";
import type { Walk } from "../walk.ts";

/** A picture, 96 by 64 and red. */
const PICTURE = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAGAAAABACAIAAABqVuVZAAAAaUlEQVR42u3QMQ0AAAgDsCmZfynIwgE3R5MqaKblEAWCBAkSJEiQIEEIEiRIkCBBggQhSJAg" +
    "QYIECRKEIEGCBAkSJEiQIAQJEiRIkCBBghAkSJAgQYIECUKQIEGCBAkSJEgQggQJEvTPAtRhYWlmsLmuAAAAAElFTkSuQmCC",
  "base64",
);

/** Says in its head that it has 65,535 by 65,535 points. */
const HUGE = Buffer.from(PICTURE);
HUGE.writeUInt32BE(65_535, 16);
HUGE.writeUInt32BE(65_535, 20);

const UPLOAD = "POST /_matrix/media/v3/upload";

export async function media(walk: Walk): Promise<void> {
  const [ola, { nobody }] = [await walk.register("ola"), walk];
  const id = await ola.upload(UPLOAD, PICTURE, "image/png");
  await ola.wrongMethod(UPLOAD);
  await ola.good("GET /v1/media/config");
  await ola.good("GET /_matrix/media/v3/config");
  const huge = await ola.upload(UPLOAD, HUGE, "image/png");
  for (const [user, prefix] of [[ola, "/_matrix/client/v1/media"], [nobody, "/_matrix/media/v3"]] as const) {
    await download(user, prefix, id);
    await thumbnail(user, prefix, id);
    await user.bad(413, "M_TOO_LARGE", `GET ${prefix}/thumbnail/{serverName}/{mediaId}`, { ...huge, width: 32, height: 32 });
  }
  const again = await ola.upload("POST /_matrix/media/r0/upload", PICTURE, "image/png");
  await download(ola, "/_matrix/client/v1/media", again);
  await ola.wrongMethod("POST /_matrix/media/r0/upload");
}

type Id = Awaited<ReturnType<User["upload"]>>;

async function download(user: User, prefix: string, id: Id): Promise<void> {
  const route = `GET ${prefix}/download/{serverName}/{mediaId}`;
  for (const [named, name] of [["", {}], ["/{fileName}", { fileName: "red.png" }]] as const) {
    const bytes = await user.file(route + named, { ...id, ...name });
    if (!bytes.equals(PICTURE)) throw new Error(`${route}${named} gives other bytes`);
    await user.bad(404, "M_NOT_FOUND", route + named, { ...id, ...name, mediaId: "unknown" });
  }
}

async function thumbnail(user: User, prefix: string, id: Id): Promise<void> {
  const route = `GET ${prefix}/thumbnail/{serverName}/{mediaId}`;
  const bytes = await user.file(route, { ...id, width: 32, height: 32, method: "crop" });
  if (bytes.equals(PICTURE)) throw new Error(`${route} gives the whole picture`);
  await user.bad(404, "M_NOT_FOUND", route, { ...id, mediaId: "unknown", width: 32, height: 32 });
  await user.bad(400, "M_MISSING_PARAM", route, { ...id });
  await user.bad(400, "M_INVALID_PARAM", route, { ...id, width: -1, height: 32 });
}
