// Keeps the page up to date, and asks for retries. All HTML comes from the server, escaped there.
"use strict";

(() => {
  const connection = document.getElementById("connection");
  const spoken = document.getElementById("spoken");
  const dialog = document.getElementById("token");
  // Spoken at most so often: figures change every second.
  const SPEAK_EVERY_MS = 15000;
  // In memory alone, and gone with the page.
  let token = null;
  let spokenAt = 0;

  document.documentElement.classList.add("has-script");

  const tell = (state, text) => {
    if (connection.dataset.state !== state || connection.textContent !== text) {
      connection.dataset.state = state;
      connection.textContent = text;
    }
  };

  const replace = (id, html) => {
    const part = document.querySelector(`[data-live="${id}"]`);
    if (!part) return;
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    part.innerHTML = html;
    if (focused) document.getElementById(focused)?.focus();
  };

  const speak = () => {
    if (Date.now() - spokenAt < SPEAK_EVERY_MS) return;
    const figures = document.querySelectorAll(".figure");
    const words = Array.from(figures, (figure) =>
      `${figure.querySelector("dd").textContent} ${figure.querySelector("dt").textContent}`);
    const text = words.join(", ");
    if (spoken.textContent !== text) spoken.textContent = text;
    spokenAt = Date.now();
  };

  const events = new EventSource("live");
  events.addEventListener("sections", (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) replace(id, html);
    tell("live", "Live");
    speak();
  });
  events.addEventListener("error", () => {
    // After some answers, such as that too many listen, a browser gives up by itself.
    if (events.readyState === EventSource.CLOSED) tell("lost", "Lost; load the page again");
    else tell("lost", "Lost, trying again");
  });

  const askForToken = () => new Promise((resolve) => {
    const field = document.getElementById("token-field");
    field.value = "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "use" ? field.value.trim() : null);
      field.value = "";
    }, { once: true });
    dialog.showModal();
  });

  const retry = async (button) => {
    token ??= await askForToken();
    if (!token) return;
    button.disabled = true;
    let said = "";
    try {
      const reply = await fetch("api/v1/retry", {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
        body: JSON.stringify({ source: button.dataset.retry }),
      });
      if (reply.ok) {
        said = "Queued";
      } else {
        if (reply.status === 401 || reply.status === 403) token = null;
        said = (await reply.json()).message;
      }
    } catch {
      said = "The replicator does not answer";
    }
    const words = button.parentElement.querySelector(".said") ?? document.createElement("span");
    words.className = "said";
    words.setAttribute("role", "status");
    words.textContent = said;
    button.after(words);
    button.disabled = false;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-retry]");
    if (button) retry(button);
  });
})();
