/** Ed25519 keys that sign JSON. Appendices, section "Signing JSON", for what has no `unsigned`. */
import { generateKeyPairSync, sign } from "node:crypto";

/** A key, of the device or with itself for a name. */
export interface SigningKey {
  publicKey: string;
  sign<T extends object>(userId: string, object: T): T & { signatures: Record<string, Record<string, string>> };
}

/** A new key: `ed25519:<name>`, or, as cross-signing keys are called, after itself. */
export function signingKey(name?: string): SigningKey {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const { x = "" } = publicKey.export({ format: "jwk" });
  const text = unpadded(Buffer.from(x, "base64url"));
  const id = `ed25519:${name ?? text}`;
  return {
    publicKey: text,
    sign: (userId, object) => {
      const { signatures, ...signed } = object as { signatures?: Record<string, Record<string, string>> };
      const made = unpadded(sign(null, Buffer.from(canonical(signed)), privateKey));
      return { ...object, signatures: { ...signatures, [userId]: { ...signatures?.[userId], [id]: made } } };
    },
  };
}

/** Appendices, section "Canonical JSON", for what has no numbers beyond integers. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, inner]) => `${JSON.stringify(name)}:${canonical(inner)}`).join(",")}}`;
}

function unpadded(bytes: Buffer): string {
  return bytes.toString("base64").replace(/=+$/, "");
}
