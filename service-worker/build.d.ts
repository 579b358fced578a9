/** What `build.mjs` puts into the script. */

/** This build. Its text changes with any file of the app, so the browser sees a new worker. */
declare const HEARTH_BUILD: {
  readonly version: string;
  /** The path of the WebAssembly module. */
  readonly wasm: string;
  /** The paths of all files that the app needs offline. */
  readonly files: readonly string[];
};

/** Whether tests may make the homeserver fail. */
declare const HEARTH_TEST_HOOKS: boolean;

/** The bindings that wasm-bindgen made, as a function: each call gives bindings of their own. */
declare module "hearth:bindings" {
  export default function bindings(
    webSocket: typeof WebSocket,
    webAssembly: object,
    indexedDB: Pick<IDBFactory, "open">,
  ): unknown;
}
