import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import reactHooks from "eslint-plugin-react-hooks";
import globals from "globals";
import tseslint from "typescript-eslint";

/** What may import what: matrix-js-sdk stays behind src/matrix, and the domain knows neither it nor React. */
const sdk = { group: ["matrix-js-sdk", "matrix-js-sdk/**"], message: "only src/matrix may use the SDK" };
const ui = { group: ["react", "react-dom", "@mantine/*"], message: "the domain knows nothing of React" };
const outwards = { group: ["../matrix/*", "../features/*", "../ui/*", "../platform/*"], message: "the domain is innermost" };

export default defineConfig(
  { ignores: ["dist", "node_modules"] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  reactHooks.configs.flat.recommended,
  {
    languageOptions: {
      globals: globals.browser,
      parserOptions: { projectService: { allowDefaultProject: ["eslint.config.js"] }, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/dot-notation": "off",
    },
  },
  { files: ["src/**/*.{ts,tsx}"], ignores: ["src/matrix/**"], rules: { "no-restricted-imports": ["error", { patterns: [sdk] }] } },
  // A stand-in for something that takes time need not take any.
  { files: ["src/**/*.test.ts"], rules: { "@typescript-eslint/require-await": "off" } },
  { files: ["src/domain/**"], rules: { "no-restricted-imports": ["error", { patterns: [sdk, ui, outwards] }] } },
);
