// A button on each block of code that copies it: after prompts, only what is typed.
const PROMPTS = /^(?:\$|>>>|\.\.\.) /;

/** @param {string} text of a block */
function typed(text) {
  const lines = text.replace(/\n+$/, "").split("\n");
  const entered = lines.filter((line) => PROMPTS.test(line));
  return (entered.length ? entered.map((line) => line.replace(PROMPTS, "")) : lines).join("\n");
}

/** @param {HTMLElement} block */
function addButton(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-live", "polite");
  const { innerText: text } = block.querySelector("pre");
  button.addEventListener("click", async () => {
    button.textContent = await navigator.clipboard.writeText(typed(text)).then(() => "Copied", () => "Not allowed");
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  block.append(button);
}

if (navigator.clipboard) document.querySelectorAll("div.highlight").forEach(addButton);
