/** Verification by emoji, one at a time, of another user or of another device of one's own. */
import type { MatrixClient } from "matrix-js-sdk";
import {
  type ShowSasCallbacks,
  VerificationPhase,
  type VerificationRequest,
  VerificationRequestEvent,
  type Verifier,
  VerifierEvent,
} from "matrix-js-sdk/lib/crypto-api/index.js";

/** How far a verification is. */
export type Phase = "none" | "unsent" | "requested" | "ready" | "started" | "cancelled" | "done";

const PHASES: Record<VerificationPhase, Phase> = {
  [VerificationPhase.Unsent]: "unsent",
  [VerificationPhase.Requested]: "requested",
  [VerificationPhase.Ready]: "ready",
  [VerificationPhase.Started]: "started",
  [VerificationPhase.Cancelled]: "cancelled",
  [VerificationPhase.Done]: "done",
};

export class Verification {
  private request: VerificationRequest | undefined;
  private verifier: Verifier | undefined;
  private shown: ShowSasCallbacks | undefined;

  constructor(private readonly client: MatrixClient) {}

  /** Asks a user, in a room that both are in. */
  async askUser(userId: string, roomId: string): Promise<void> {
    this.begin(await this.crypto.requestVerificationDM(userId, roomId));
  }

  /** Asks all other devices of this user. */
  async askOwnDevices(): Promise<void> {
    this.begin(await this.crypto.requestOwnUserVerification());
  }

  /** Attends to a request from now on. */
  begin(request: VerificationRequest): void {
    this.request = request;
    this.verifier = undefined;
    this.shown = undefined;
    request.on(VerificationRequestEvent.Change, () => this.follow());
    this.follow();
  }

  /** How far it is. */
  phase(): Phase {
    return this.request ? PHASES[this.request.phase] : "none";
  }

  /** Why it was cancelled, if it was. */
  reason(): string | undefined {
    return this.request?.cancellationCode ?? undefined;
  }

  /** Agrees to a verification that somebody else asked for. */
  async accept(): Promise<void> {
    await this.current.accept();
  }

  /** Begins to compare emoji. */
  async compare(): Promise<void> {
    this.attend(await this.current.startVerification("m.sas.v1"));
  }

  /** The emoji, as soon as they are known. */
  emoji(): string | undefined {
    return this.shown?.sas.emoji?.map(([emoji]) => emoji).join("");
  }

  /** Says that the emoji are the same. */
  async confirm(): Promise<void> {
    await this.shown?.confirm();
  }

  private follow(): void {
    const verifier = this.current.verifier;
    if (verifier) this.attend(verifier);
  }

  private attend(verifier: Verifier): void {
    if (this.verifier === verifier) return;
    this.verifier = verifier;
    verifier.on(VerifierEvent.ShowSas, (sas) => (this.shown = sas));
    // How it ends is seen from the phase.
    verifier.verify().catch(() => undefined);
  }

  private get current(): VerificationRequest {
    if (!this.request) throw new Error("nobody asked for a verification");
    return this.request;
  }

  private get crypto() {
    const crypto = this.client.getCrypto();
    if (!crypto) throw new Error("without crypto");
    return crypto;
  }
}
