// Log-in and log-out.

import { logIn, who } from "./api.js";
import { element, write } from "./elements.js";

/** Ask for the password; or log out who is logged in. */
export async function dialog() {
  if (who().logged_in) {
    await logIn(null);
    return;
  }
  if (document.getElementById("login")) return;
  const error = element("p", { class: "error", role: "alert" });
  const password = element("input", { type: "password", name: "password", autocomplete: "current-password", required: true, id: "password" });
  const button = element("button", { type: "submit", class: "main" }, "Log in");
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: "login-title" }, "Log in to headnod"),
    element("p", { class: "note" }, "The password of the owner, or the one for reading only."),
    element("label", { for: "password" }, "Password"),
    password,
    error,
    element("div", { class: "row" }, button),
  );
  const box = element("dialog", { id: "login", "aria-labelledby": "login-title" }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await logIn(password.value);
      box.close();
    } catch (refused) {
      write(error, refused.message);
      password.select();
    }
    button.disabled = false;
  });
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}
