/**
 * matrix-js-sdk with its Rust crypto, as an ordinary client uses it, driven from outside: every argument and answer is a
 * plain value. It knows nothing of Hearth.
 */
import { ClientEvent, type MatrixClient, MatrixError, Method, SyncState, createClient } from "matrix-js-sdk";
import { CryptoEvent, type GeneratedSecretStorageKey, decodeRecoveryKey } from "matrix-js-sdk/lib/crypto-api/index.js";
import { Conversations } from "./conversations.ts";
import { Sliding } from "./sliding.ts";
import { Verification } from "./verification.ts";

/** Who signs in, and where. */
export interface Account {
  baseUrl: string;
  username: string;
  password: string;
  /** Whether its devices use sliding sync. */
  sliding?: boolean;
}

/** How long a sync waits, in milliseconds. */
const POLL = 20_000;

/** One device of a user. */
export class Client {
  /** Rooms and what is said in them. */
  readonly rooms: Conversations;
  /** The verification that is going on. */
  readonly verification: Verification;
  /** The sliding sync, if it uses one. */
  readonly sliding: Sliding | undefined;
  private recoveryKey: string | undefined;

  private constructor(
    private readonly account: Account,
    private readonly client: MatrixClient,
  ) {
    this.rooms = new Conversations(client);
    this.verification = new Verification(client);
    this.sliding = account.sliding ? new Sliding(client, account.baseUrl, POLL) : undefined;
  }

  /** Makes the account, with a first device. */
  static async register(account: Account): Promise<Client> {
    const { username, password } = account;
    const anonymous = createClient({ baseUrl: account.baseUrl });
    const auth = { type: "m.login.dummy" };
    const answer = await anonymous.registerRequest({ username, password, auth });
    if (!answer.access_token || !answer.device_id) throw new Error("registered without a session");
    return Client.start(account, answer.user_id, answer.device_id, answer.access_token);
  }

  /** A further device. With the recovery key it can open what the user keeps encrypted on the server. */
  static async login(account: Account, recoveryKey?: string): Promise<Client> {
    const answer = await createClient({ baseUrl: account.baseUrl }).loginRequest({
      type: "m.login.password",
      identifier: { type: "m.id.user", user: account.username },
      password: account.password,
    });
    return Client.start(account, answer.user_id, answer.device_id, answer.access_token, recoveryKey);
  }

  private static async start(
    account: Account,
    userId: string,
    deviceId: string,
    accessToken: string,
    recoveryKey?: string,
  ): Promise<Client> {
    const opened = (): string | undefined => made.recoveryKey;
    const client = createClient({
      baseUrl: account.baseUrl,
      userId,
      deviceId,
      accessToken,
      disableVoip: true,
      cryptoCallbacks: {
        getSecretStorageKey: async ({ keys }) => {
          const [id] = Object.keys(keys);
          const key = opened();
          return id && key ? [id, decodeRecoveryKey(key) as Uint8Array<ArrayBuffer>] : null;
        },
      },
    });
    const made = new Client(account, client);
    made.recoveryKey = recoveryKey;
    await client.initRustCrypto({ useIndexedDB: false });
    client.on(CryptoEvent.VerificationRequestReceived, (request) => made.verification.begin(request));
    const prepared = new Promise<void>((resolve) => {
      client.on(ClientEvent.Sync, (state) => state === SyncState.Prepared && resolve());
    });
    const way = made.sliding ? { slidingSync: made.sliding.sync } : {};
    await client.startClient({ threadSupport: true, lazyLoadMembers: true, pollTimeout: POLL, ...way });
    await prepared;
    return made;
  }

  /** The user's id and the device's. */
  identity(): { userId: string; deviceId: string } {
    return { userId: this.client.getSafeUserId(), deviceId: this.client.getDeviceId() ?? "" };
  }

  /** Makes cross-signing keys. How many times the server wanted the password for it. */
  async makeCrossSigningKeys(): Promise<number> {
    let asked = 0;
    await this.crypto.bootstrapCrossSigning({
      setupNewCrossSigning: true,
      authUploadDeviceSigningKeys: async (upload) => {
        try {
          return await upload(null);
        } catch (error) {
          if (!(error instanceof MatrixError) || error.httpStatus !== 401) throw error;
          asked++;
          return await upload(this.confirmation(error.data.session));
        }
      },
    });
    return asked;
  }

  /** Keeps the secrets encrypted on the server, and begins a key backup. The recovery key. */
  async keepSecrets(): Promise<string> {
    let key: GeneratedSecretStorageKey | undefined;
    await this.crypto.bootstrapSecretStorage({
      setupNewSecretStorage: true,
      setupNewKeyBackup: true,
      createSecretStorageKey: async () => {
        key = await this.crypto.createRecoveryKeyFromPassphrase();
        this.recoveryKey = key.encodedPrivateKey;
        return key;
      },
    });
    if (!key?.encodedPrivateKey) throw new Error("no recovery key was made");
    return key.encodedPrivateKey;
  }

  /** Takes the cross-signing keys from the server, with the recovery key, and signs this device. */
  async takeCrossSigningKeys(): Promise<void> {
    // The SDK imports nothing as long as it has not asked for the public keys.
    await this.crypto.userHasCrossSigningKeys(undefined, true);
    await this.crypto.bootstrapCrossSigning({});
  }

  /** How many room keys the server's backup holds. */
  async backedUp(): Promise<number> {
    // The SDK itself asks once and remembers the answer.
    const path = "/room_keys/version";
    return (await this.client.http.authedRequest<{ count: number }>(Method.Get, path)).count;
  }

  /** How many room keys this device has. */
  async roomKeys(): Promise<number> {
    return (await this.crypto.exportRoomKeys()).length;
  }

  /** Takes all room keys from the backup, whose key the server keeps encrypted. */
  async restoreWithRecoveryKey(): Promise<{ total: number; imported: number }> {
    await this.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    return this.restore();
  }

  /** Takes all room keys from the backup, whose key this device has. */
  async restore(): Promise<{ total: number; imported: number }> {
    const { total, imported } = await this.crypto.restoreKeyBackup();
    return { total, imported };
  }

  /** Whether this device has the key of the backup. */
  async hasBackupKey(): Promise<boolean> {
    return (await this.crypto.getSessionBackupPrivateKey()) !== null;
  }

  /** Whether this device can sign for its user. */
  isCrossSigningReady(): Promise<boolean> {
    return this.crypto.isCrossSigningReady();
  }

  /** Whether this user has verified that one. */
  async trustsUser(userId: string): Promise<boolean> {
    return (await this.crypto.getUserVerificationStatus(userId)).isCrossSigningVerified();
  }

  /** Whether the owner of a device, whom this user trusts, signed it. */
  async trustsDevice(userId: string, deviceId: string): Promise<boolean> {
    return (await this.crypto.getDeviceVerificationStatus(userId, deviceId))?.crossSigningVerified ?? false;
  }

  /** Ends the sync. The device stays. */
  stop(): void {
    this.client.stopClient();
  }

  private confirmation(session: string): { type: string; session: string; identifier: object; password: string } {
    const identifier = { type: "m.id.user", user: this.client.getSafeUserId() };
    return { type: "m.login.password", session, identifier, password: this.account.password };
  }

  private get crypto() {
    const crypto = this.client.getCrypto();
    if (!crypto) throw new Error("without crypto");
    return crypto;
  }
}
