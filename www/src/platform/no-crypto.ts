/** Stands where matrix-js-sdk would load its end-to-end encryption from; the app never asks for it. */
throw new Error("end-to-end encryption is not part of this build");

export {};
