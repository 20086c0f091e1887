// What is done with the playground in Firefox.
module.exports = async (page, until) => {
  await page.click("#run");
  await until("playground.training.now.trainRight > 0.98");
  await page.click("#run");
  const right = await page.evaluate("playground.training.now.trainRight");
  await page.evaluate("scrollTo(0, 0)");
  const box = await (await page.$("#plane")).boundingBox();
  await page.mouse.click(box.x + 100, box.y + 100);
  const point = await page.evaluate("playground.point");
  await page.focus("#plane");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Enter");
  const after = await page.evaluate("playground.point");
  await page.click("#copy-python");
  const script = await page.$eval("#copied textarea", (area) => area.value);
  const answers = await page.evaluate(
    "[...playground.training.network.predict(playground.training.sets.train.x, playground.data.train.length)]");
  return { right, point, after, script, answers };
};
