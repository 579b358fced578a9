/** Colours and shapes of the app: warm greys, an ember, and calm colours for people. */
import { type MantineColorsTuple, createTheme } from "@mantine/core";

const ember: MantineColorsTuple = [
  "#fff2e8", "#ffe3d0", "#fcc5a1", "#f9a56f", "#f58a45", "#f1772a", "#e0641a", "#c65312", "#a6450f", "#82370d",
];

/** Mantine's dark surfaces, warmed. */
const dark: MantineColorsTuple = [
  "#d6cfc9", "#b8b0a9", "#9a928b", "#6f6862", "#4a443f", "#37322e", "#2a2623", "#1f1c1a", "#181513", "#110f0d",
];

const gray: MantineColorsTuple = [
  "#fbf9f7", "#f5f1ed", "#ebe5df", "#ddd5cd", "#c9bfb6", "#a99e94", "#857a71", "#655c54", "#473f39", "#2b2522",
];

export const theme = createTheme({
  primaryColor: "ember",
  primaryShade: { light: 7, dark: 6 },
  colors: { ember, dark, gray },
  defaultRadius: "md",
  cursorType: "pointer",
  fontFamily:
    'Inter, "Segoe UI Variable Text", "Segoe UI", system-ui, -apple-system, "Helvetica Neue", Roboto, "Noto Sans", sans-serif, "Noto Color Emoji"',
  fontFamilyMonospace: 'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, "DejaVu Sans Mono", monospace',
  headings: { fontWeight: "650" },
  components: {
    Modal: { defaultProps: { centered: true, overlayProps: { backgroundOpacity: 0.35, blur: 2, color: "#2b1a10" }, padding: "lg", radius: "lg", closeButtonProps: { "aria-label": "Close" } }, styles: { title: { fontWeight: 650, fontSize: 18 } } },
    Tooltip: { defaultProps: { openDelay: 350, withArrow: true } },
    ActionIcon: { defaultProps: { variant: "subtle", color: "gray" } },
  },
});
