import { createContext } from "react";

/** Opens the list of rooms where it is not always there: on a narrow screen. */
export const NavigationContext = createContext<(() => void) | undefined>(undefined);
