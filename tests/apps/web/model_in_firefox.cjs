// What is done with a page of a model of pictures in Firefox: a seven is drawn, and files are opened.
module.exports = async (page, until, picture, damaged) => {
  const answer = "document.getElementById('answer').textContent";
  const said = "document.querySelector('#model [role=status]').textContent";
  const { x, y, width } = await (await page.$("#pad")).boundingBox();
  const points = [[80, 80], [130, 82], [190, 80], [165, 130], [140, 180], [125, 220]];
  for (const [i, [across, down]] of points.entries()) {
    await page.mouse.move(x + (across * width) / 280, y + (down * width) / 280);
    if (i === 0) await page.mouse.down();
  }
  await page.mouse.up();
  await until(`${answer} === '7'`);
  const drawn = await page.evaluate(answer);
  const saliency = await page.evaluate("[...shown.saliency.show(shown.answer(shown.prepared(shown.pad.picture)))]");
  const file = await page.$("input[type=file]");
  await file.uploadFile(damaged);
  await until(`${said} !== ''`);
  const refused = await page.evaluate(said);
  await file.uploadFile(picture);
  await until(`${said} !== ${JSON.stringify(refused)}`);
  await page.evaluate("new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)))");
  const given = await page.evaluate(
    "[...seen.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)");
  const opened = await page.evaluate(answer);
  await page.focus("#pad");
  await page.keyboard.down("Control");
  await page.keyboard.press("z");
  await page.keyboard.up("Control");
  await until(`${answer} === '7'`);
  const back = await page.evaluate(answer);
  return { drawn, saliency, refused, given, opened, back };
};
