import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["results/**", "node_modules/**"] },
  js.configs.recommended,
  ...tseslint.configs.strict,
  {
    // Playwright's fixtures name what they use by destructuring; some use nothing.
    rules: { "no-empty-pattern": ["error", { allowObjectPatternsAsParameters: true }] },
  },
);
