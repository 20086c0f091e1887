// What the page of a model of a table says in Firefox of rows that are filled in, by a function's text.
module.exports = async (page, until, filled, rows) => {
  const found = await page.evaluate(`(${filled})(${rows})`);
  await until("document.querySelectorAll('.curve rect.bar').length > 0");
  await page.focus("input[type=range]");
  await page.keyboard.press("Home");
  const moved = await page.evaluate("document.querySelector('input[type=number]').value");
  return { found, moved };
};
